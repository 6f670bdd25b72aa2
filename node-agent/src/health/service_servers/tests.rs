//! Ports that other programs hold.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::*;
use crate::agent::Inbox;

/// Which ports a look was for, of every look in this process.
static LOOKS: Mutex<Vec<BTreeSet<u16>>> = Mutex::new(Vec::new());

fn look(ports: &BTreeSet<u16>) -> BTreeMap<u16, String> {
    LOOKS.lock().unwrap().push(ports.clone());
    BTreeMap::new()
}

fn table(ports: impl IntoIterator<Item = u16>) -> HealthCheckTable {
    let rows = ports.into_iter().map(|port| {
        let check = HealthCheck {
            port,
            local_endpoints: 1,
        };
        (ObjectName::new("ns", format!("s{port}").as_str()), check)
    });
    rows.collect()
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn who_holds_ports_is_looked_up_once_for_all_and_not_at_every_attempt() {
    let inbox = Arc::new(Inbox::default());
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::new(inbox));
    let mut servers = Servers::new(health, Arc::clone(&metrics), look);
    let mut held: Vec<TcpListener> = (0..50)
        .map(|_| http::listen((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap())
        .collect();
    let all: BTreeSet<u16> = held.iter().map(port_of).collect();
    let wanted = table(all.iter().copied());
    let tries = || {
        let text = metrics.text().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("sluice_health_check_server_failures_total"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };

    let start = Instant::now();
    servers.converge(&wanted, start).await;
    assert_eq!(servers.next_attempt(), Some(start + RETRY));
    // The table changes, and changes again.
    servers
        .converge(&wanted, start + Duration::from_secs(1))
        .await;
    assert_eq!(tries(), "50");
    let freed = port_of(&held.pop().unwrap());
    servers.converge(&wanted, start + RETRY).await;
    assert_eq!(tries(), "99");
    assert_eq!(
        servers
            .running
            .values()
            .map(|server| server.port)
            .collect::<Vec<_>>(),
        [freed]
    );

    let of_another = http::listen((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    let mut more = wanted;
    more.extend(table([port_of(&of_another)]));
    servers
        .converge(&more, start + RETRY + Duration::from_secs(1))
        .await;
    assert_eq!(tries(), "100");
    let looks = || LOOKS.lock().unwrap().clone();
    tokio::time::timeout(Duration::from_secs(10), async {
        while looks().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let mut looks = looks();
    // Each is in a thread of its own.
    looks.sort_by_key(|ports| std::cmp::Reverse(ports.len()));
    assert_eq!(looks, [all, [port_of(&of_another)].into()]);
}
