use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use super::*;

/// The kernel's timer of a connection to this address (`tr` of /proc/net/tcp): 0 none, 1 sent again, 2 keepalive.
fn timer(to: SocketAddr) -> Option<String> {
    let port = format!(":{:04X}", to.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect());
    let mut ours = fields.filter(|fields: &Vec<&str>| fields[2].ends_with(&port));
    ours.next().map(|fields| fields[5][..2].to_owned())
}

#[tokio::test]
async fn who_only_listens_asks_whether_anybody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let config = Config::new(format!("http://{server}").parse().unwrap());
    let client = client(config).unwrap();
    let request = tokio::spawn(async move { client.apiserver_version().await });
    // It is never answered.
    let begun = Instant::now();
    while timer(server).as_deref() != Some("02") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            timer(server)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    request.abort();
}
