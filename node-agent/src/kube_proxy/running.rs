//! Whether a kube-proxy runs on this node.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PROGRAM: &str = "kube-proxy";
/// Where kube-proxy tells its metrics unless told otherwise, and Sluice too.
const METRICS_PORT: u16 = 10249;
const PATIENCE: Duration = Duration::from_secs(2);
/// The first metrics of kube-proxy are within.
const READ_AT_MOST: u64 = 1 << 20;

/// How a running kube-proxy was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// By its process, in our network namespace.
    Process(u32),
    /// By its metrics: from a container one sees no processes of others.
    Metrics(SocketAddr),
}

impl fmt::Display for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(formatter, "process {id}"),
            Self::Metrics(address) => write!(formatter, "it answers on {address}"),
        }
    }
}

/// Looks for one. A process that may not be looked at counts as another's.
pub fn find_running() -> Option<Running> {
    let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
    process().map(Running::Process).or_else(|| {
        let text = ask(metrics)?;
        is_kube_proxy(&text).then_some(Running::Metrics(metrics))
    })
}

/// One in another network namespace serves another node: a test's, or a node that is a container.
fn process() -> Option<u32> {
    let ours = fs::read_link("/proc/thread-self/ns/net").ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == PROGRAM)
            && fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|theirs| theirs == ours)
    })
}

fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // What came before a fault counts.
    let _ = stream.take(READ_AT_MOST).read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Our own metrics have kube-proxy's names beside ours.
fn is_kube_proxy(metrics: &str) -> bool {
    metrics.contains("kubeproxy_") && !metrics.contains("\nsluice_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_metrics_are_not_taken_for_those_of_kube_proxy() {
        let theirs = "kubernetes_build_info 1\nkubeproxy_proxy_healthz_total 1\n";
        assert!(is_kube_proxy(theirs));
        assert!(!is_kube_proxy(&format!("{theirs}sluice_services 1\n")));
        assert!(!is_kube_proxy("HTTP/1.1 404 Not Found\r\n"));
    }
}
