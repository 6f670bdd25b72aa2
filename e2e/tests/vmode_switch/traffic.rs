//! Traffic of every kind, and what became of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sluice_e2e::changes::lost;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::load::{Load, LoadReport, Route};
use sluice_e2e::lab::places::{A1, A2, CLIENT, NEIGHBOUR, NODE, Place, ROUTER};
use sluice_e2e::packets::build::{NODE_PORT, PORT, cluster_ip};
use sluice_service_plan::model::Family;

/// The node as a client whose routes say which address it has.
const NODE_ITSELF: Place = Place {
    v4: Ipv4Addr::UNSPECIFIED,
    v6: Ipv6Addr::UNSPECIFIED,
    ..NODE
};

/// How long an answer may take. A lost SYN is sent again after a second: it is counted as a failure.
const PATIENCE: Duration = Duration::from_secs(6);

/// Who reaches what: outside clients, pods, a pod that meets itself, the node, in both families; cluster IPs and node ports.
pub(crate) fn routes() -> Vec<(&'static str, Route)> {
    let vip = |family, n| SocketAddr::new(cluster_ip(family, n), PORT);
    let at_node = |family: Family| SocketAddr::new(NODE.ip(family), NODE_PORT);
    let (v4, v6) = (Family::V4, Family::V6);
    [
        ("outside to cluster IP", CLIENT, vip(v4, 10)),
        ("outside to cluster IP, IPv6", CLIENT, vip(v6, 10)),
        ("pod to cluster IP", A2, vip(v4, 10)),
        ("pod to cluster IP, IPv6", A2, vip(v6, 10)),
        ("pod to itself", A1, vip(v4, 11)),
        ("node to cluster IP", NODE_ITSELF, vip(v4, 10)),
        ("node to cluster IP, IPv6", NODE_ITSELF, vip(v6, 10)),
        ("neighbour to node port", NEIGHBOUR, at_node(v4)),
        ("neighbour to node port, IPv6", NEIGHBOUR, at_node(v6)),
        ("sticky client", CLIENT.shifted(1), vip(v4, 12)),
    ]
    .into_iter()
    .map(|(name, from, to)| {
        let patience = PATIENCE;
        (name, Route { from, to, patience })
    })
    .collect()
}

/// Loads of one kind, each with its name.
pub(crate) struct Loads(Vec<(String, Load)>);

/// What became of them, together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) attempts: usize,
    pub(crate) failed: usize,
    pub(crate) slowest: Duration,
    /// A few failures of many, for a person.
    pub(crate) examples: Vec<String>,
}

impl Loads {
    /// New connections, so many a second on each route.
    pub(crate) fn new_connections(lab: &Lab, per_second: u32) -> Self {
        Self::on_routes("new", |route| {
            Load::new_connections(lab, route, per_second).unwrap()
        })
    }

    /// TCP connections that stay and carry data, so many on each route.
    pub(crate) fn kept(lab: &Lab, each: usize, interval: Duration) -> Self {
        Self::on_routes("kept", |route| {
            Load::long_lived_every(lab, route, each, interval).unwrap()
        })
    }

    /// UDP senders, so many on each route.
    pub(crate) fn senders(lab: &Lab, each: usize, interval: Duration) -> Self {
        Self::on_routes("UDP", |route| {
            Load::datagrams_every(lab, route, each, interval).unwrap()
        })
    }

    fn on_routes(kind: &str, start: impl Fn(Route) -> Load) -> Self {
        let named = |(name, route)| (format!("{kind}, {name}"), start(route));
        Self(routes().into_iter().map(named).collect())
    }

    /// Stops them all, then looks.
    pub(crate) fn stop(self) -> Sum {
        let mut sum = Sum::default();
        for (name, load) in self.0 {
            sum.add(&name, &load.stop().unwrap());
        }
        sum
    }
}

impl Sum {
    fn add(&mut self, name: &str, report: &LoadReport) {
        let astray = report
            .answers()
            .get(ROUTER.name)
            .copied()
            .unwrap_or_default();
        self.attempts += report.attempts.len();
        let lost_syns = usize::try_from(report.syn_retransmits).unwrap();
        self.failed += report.failures().len() + astray + lost_syns;
        self.slowest = self.slowest.max(report.slowest());
        let failures = lost(report, |_| false);
        self.examples.extend(
            failures
                .into_iter()
                .map(|failure| format!("{name}: {failure}")),
        );
        if astray > 0 {
            self.examples
                .push(format!("{name}: {astray} were not translated"));
        }
    }

    pub(crate) fn assert_nothing_failed(&self, what: &str) {
        assert_eq!(self.failed, 0, "{what}: {:#?}", self.examples);
    }
}
