//! A service whose one endpoint is the pod that calls it: translated and masqueraded as the data planes do it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_e2e::attach::{Node, Pod};
use sluice_e2e::lab::{Listen, Outcome, Probe, Server};
use sluice_service_plan::model::Protocol;

const PORT: u16 = 8080;
const SETTLING: Duration = Duration::from_secs(30);

/// Of each family.
fn service(address: IpAddr) -> SocketAddr {
    let ip = if address.is_ipv4() {
        "10.96.0.10"
    } else {
        "fd00:96::a"
    };
    SocketAddr::new(ip.parse().unwrap(), 80)
}

/// A pod that serves, and services that lead to it.
pub(crate) struct Served<'a> {
    pod: &'a Pod,
    addresses: Vec<IpAddr>,
    _server: Server,
}

impl<'a> Served<'a> {
    pub(crate) fn start(node: &Node, pod: &'a Pod, result: &Value) -> Self {
        let addresses = Pod::addresses(result);
        assert!(!addresses.is_empty(), "{result}");
        for address in &addresses {
            let (program, to) = match address {
                IpAddr::V4(_) => ("iptables-nft", format!("{address}:{PORT}")),
                IpAddr::V6(_) => ("ip6tables-nft", format!("[{address}]:{PORT}")),
            };
            let service = service(*address);
            for rule in [
                format!(
                    "PREROUTING -d {} -p tcp --dport 80 -j DNAT --to-destination {to}",
                    service.ip()
                ),
                format!("POSTROUTING -s {address} -d {address} -j MASQUERADE"),
            ] {
                let line = format!("{program} -w -t nat -A {rule}");
                node.namespace().command(&line).unwrap();
            }
        }
        let listen = Listen {
            name: "web".to_owned(),
            addresses: addresses.clone(),
            ports: vec![PORT],
            protocols: vec![Protocol::Tcp],
        };
        Self {
            pod,
            addresses,
            _server: Server::start(&pod.namespace, &[listen]).unwrap(),
        }
    }

    /// The pod calls the service of each family.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let probe = |address: &IpAddr| {
            let probe = Probe::new(Protocol::Tcp, None, service(*address));
            self.pod.namespace.run(move || probe.run()).unwrap()
        };
        self.addresses.iter().map(probe).collect()
    }

    /// Links that just came up may lose what is sent first.
    pub(crate) fn reaches_itself(&self) {
        let deadline = Instant::now() + SETTLING;
        loop {
            let outcomes = self.outcomes();
            let reached = |outcome: &Outcome| outcome.endpoint() == Some("web");
            if outcomes.iter().all(reached) {
                return;
            }
            assert!(Instant::now() < deadline, "{outcomes:?}");
        }
    }

    pub(crate) fn does_not_reach_itself(&self) {
        for outcome in self.outcomes() {
            assert_eq!(outcome, Outcome::TimedOut, "{outcome}");
        }
    }
}
