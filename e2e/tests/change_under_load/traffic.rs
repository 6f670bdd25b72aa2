//! One service, on each data plane, and traffic that would notice any fault.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::changes::{ServedNode, lost};
use sluice_e2e::lab::load::{Attempt, Load, LoadReport, Route};
use sluice_e2e::lab::pace::{patience, rate, stretched};
use sluice_e2e::lab::places::{Place, ROUTER};
use sluice_e2e::packets::build::{PORT, ServiceBuilder, cluster_ip, service};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// New TCP connections a second.
pub(crate) fn connections() -> u32 {
    rate(120)
}

/// Datagrams a second of each sender.
pub(crate) fn datagrams() -> u32 {
    rate(40)
}

/// What is enough new connections.
const ENOUGH: usize = 50;

/// Time that traffic has between two changes.
pub(crate) fn step() -> Duration {
    stretched(Duration::from_millis(250))
}

pub(crate) fn on_each_plane(test: impl Fn(&mut ServedNode)) {
    for plane in planes::here() {
        eprintln!("on {}:", plane.name);
        test(&mut serving(plane));
    }
}

pub(crate) fn serving(plane: &PlaneUnderTest) -> ServedNode {
    ServedNode::start(plane.open, plane.settings(Settings::default())).unwrap()
}

/// `default/web`, TCP and UDP, with a cluster IP in each family.
pub(crate) fn web() -> ServiceBuilder {
    with_ports(service("web"), None)
}

pub(crate) fn with_ports(service: ServiceBuilder, node_port: Option<u16>) -> ServiceBuilder {
    let service = Family::ALL.into_iter().fold(service, |service, family| {
        service.cluster_ip(cluster_ip(family, 10))
    });
    [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]
        .into_iter()
        .fold(service, |service, (name, protocol)| {
            let service = service.port(name, protocol, PORT);
            match node_port {
                Some(port) => service.node_port(port),
                None => service,
            }
        })
}

pub(crate) fn vip_of(family: Family) -> SocketAddr {
    SocketAddr::new(cluster_ip(family, 10), PORT)
}

pub(crate) fn vip() -> SocketAddr {
    vip_of(Family::V4)
}

pub(crate) fn route(from: Place, to: SocketAddr) -> Route {
    Route {
        from,
        to,
        patience: patience(),
    }
}

/// Everything that a change could break, on one address.
pub(crate) struct Traffic {
    pub(crate) new: Load,
    pub(crate) kept: Load,
    pub(crate) datagrams: Load,
}

pub(crate) struct TrafficReport {
    pub(crate) new: LoadReport,
    pub(crate) kept: LoadReport,
    pub(crate) datagrams: LoadReport,
}

impl Traffic {
    pub(crate) fn start(node: &ServedNode, from: Place, to: SocketAddr) -> Self {
        let lab = node.lab();
        let traffic = Self {
            new: Load::new_connections(lab, route(from, to), connections()).unwrap(),
            kept: Load::long_lived(lab, route(from, to), 8, rate(20)).unwrap(),
            datagrams: Load::datagrams(lab, route(from, to), 4, datagrams()).unwrap(),
        };
        sleep(step());
        traffic
    }

    pub(crate) fn stop(mut self) -> TrafficReport {
        sleep(step());
        self.new.wait_until(|seen| seen.len() > ENOUGH);
        TrafficReport {
            new: self.new.stop().unwrap(),
            kept: self.kept.stop().unwrap(),
            datagrams: self.datagrams.stop().unwrap(),
        }
    }
}

impl TrafficReport {
    /// Nothing failed. A datagram may fail if `in_flight` says that its endpoint went while its answer was under way: the
    /// entry that would have translated the answer is deleted with the endpoint.
    pub(crate) fn assert_nothing_lost(&self, what: &str, in_flight: impl Fn(&Attempt) -> bool) {
        let counts = [&self.new, &self.kept, &self.datagrams].map(|load| load.attempts.len());
        let excused = self.datagrams.failures().len();
        eprintln!(
            "  {what}: {} new connections, {} bytes on kept ones, {} datagrams ({excused} met a removal in flight)",
            counts[0], counts[1], counts[2]
        );
        assert!(counts[0] > ENOUGH, "{what}: too little load: {counts:?}");
        for load in [&self.new, &self.kept, &self.datagrams] {
            let answers = load.answers();
            assert!(
                !answers.contains_key(ROUTER.name),
                "{what}: not translated: {answers:?}"
            );
        }
        assert_eq!(
            lost(&self.new, |_| false),
            [""; 0],
            "{what}: new connections"
        );
        assert_eq!(
            lost(&self.kept, |_| false),
            [""; 0],
            "{what}: kept connections"
        );
        assert_eq!(
            lost(&self.datagrams, in_flight),
            [""; 0],
            "{what}: datagrams"
        );
    }
}

/// Answers by `gone` to what was sent from one moment to another.
pub(crate) fn answers_of(
    report: &LoadReport,
    gone: &Place,
    from: Instant,
    until: Instant,
) -> usize {
    let late = report
        .attempts
        .iter()
        .filter(|attempt| attempt.at >= from && attempt.at < until);
    late.filter(|attempt| attempt.outcome.endpoint() == Some(gone.name))
        .count()
}
