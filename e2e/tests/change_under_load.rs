//! Changes while traffic flows: nothing that has a live endpoint fails, at any step.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::changes::{Change, ServedNode, is_refused, lost};
use sluice_e2e::lab::load::{Attempt, Load, LoadReport, Route};
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, NEIGHBOUR, NODE, Place, ROUTER};
use sluice_e2e::lab::{Outcome, Probe};
use sluice_e2e::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, ServiceBuilder, all_ready, cluster_ip, draining, ending,
    outside_ip, ready, service,
};
use sluice_e2e::packets::planes::{PLANES, PlaneUnderTest};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// New TCP connections a second.
const CONNECTIONS: u32 = 120;
/// Datagrams a second of each sender.
const DATAGRAMS: u32 = 40;
/// Time that traffic has between two changes.
const STEP: Duration = Duration::from_millis(250);

fn on_each_plane(test: impl Fn(&mut ServedNode)) {
    for plane in &PLANES {
        eprintln!("on {}:", plane.name);
        test(&mut serving(plane));
    }
}

fn serving(plane: &PlaneUnderTest) -> ServedNode {
    ServedNode::start(plane.open, Settings::default()).unwrap()
}

/// `default/web`, TCP and UDP, with a cluster IP in each family.
fn web() -> ServiceBuilder {
    with_ports(service("web"), None)
}

fn with_ports(service: ServiceBuilder, node_port: Option<u16>) -> ServiceBuilder {
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

fn vip_of(family: Family) -> SocketAddr {
    SocketAddr::new(cluster_ip(family, 10), PORT)
}

fn vip() -> SocketAddr {
    vip_of(Family::V4)
}

fn route(from: Place, to: SocketAddr) -> Route {
    let patience = Duration::from_millis(800);
    Route { from, to, patience }
}

/// Everything that a change could break, on one address.
struct Traffic {
    new: Load,
    kept: Load,
    datagrams: Load,
}

struct TrafficReport {
    new: LoadReport,
    kept: LoadReport,
    datagrams: LoadReport,
}

impl Traffic {
    fn start(node: &ServedNode, from: Place, to: SocketAddr) -> Self {
        let lab = node.lab();
        let traffic = Self {
            new: Load::new_connections(lab, route(from, to), CONNECTIONS).unwrap(),
            kept: Load::long_lived(lab, route(from, to), 8, 20).unwrap(),
            datagrams: Load::datagrams(lab, route(from, to), 4, DATAGRAMS).unwrap(),
        };
        sleep(STEP);
        traffic
    }

    fn stop(self) -> TrafficReport {
        sleep(STEP);
        TrafficReport {
            new: self.new.stop(),
            kept: self.kept.stop(),
            datagrams: self.datagrams.stop(),
        }
    }
}

impl TrafficReport {
    /// Nothing failed. A datagram may fail if `in_flight` says that its endpoint went while its answer was under way: the
    /// entry that would have translated the answer is deleted with the endpoint.
    fn assert_nothing_lost(&self, what: &str, in_flight: impl Fn(&Attempt) -> bool) {
        let counts = [&self.new, &self.kept, &self.datagrams].map(|load| load.attempts.len());
        let excused = self.datagrams.failures().len();
        eprintln!(
            "  {what}: {} new connections, {} bytes on kept ones, {} datagrams ({excused} met a removal in flight)",
            counts[0], counts[1], counts[2]
        );
        assert!(counts[0] > 50, "{what}: too little load: {counts:?}");
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
fn answers_of(report: &LoadReport, gone: &Place, from: Instant, until: Instant) -> usize {
    let late = report
        .attempts
        .iter()
        .filter(|attempt| attempt.at >= from && attempt.at < until);
    late.filter(|attempt| attempt.outcome.endpoint() == Some(gone.name))
        .count()
}

#[test]
fn endpoints_come_and_go_one_by_one_and_nothing_fails() {
    on_each_plane(|node| {
        let all = [A1, A2, B1];
        node.serve(&web(), &all_ready(all)).unwrap();
        let traffic = Family::ALL.map(|family| Traffic::start(node, CLIENT, vip_of(family)));
        let mut removals: Vec<(Place, Change, Instant)> = Vec::new();
        for gone in all {
            let left: Vec<EndpointBuilder> =
                all.into_iter().filter(|p| *p != gone).map(ready).collect();
            let removal = node.serve(&web(), &left).unwrap();
            sleep(STEP);
            removals.push((gone, removal, Instant::now()));
            node.serve(&web(), &all_ready(all)).unwrap();
            sleep(STEP);
        }
        for (family, traffic) in Family::ALL.into_iter().zip(traffic) {
            let report = traffic.stop();
            report.assert_nothing_lost(&format!("{family:?} endpoints come and go"), |attempt| {
                removals
                    .iter()
                    .any(|(_, removal, _)| removal.meets(attempt))
            });
            assert_eq!(report.new.answers().len(), all.len());
            for (gone, removal, back) in &removals {
                for load in [&report.new, &report.datagrams] {
                    assert_eq!(
                        answers_of(load, gone, removal.done, *back),
                        0,
                        "{}",
                        gone.name
                    );
                }
            }
        }
        // Senders that never pause keep their conntrack entries: each removal must have moved those of its endpoint.
        let moved: u64 = removals
            .iter()
            .map(|(_, r, _)| r.report.flows_deleted)
            .sum();
        assert!(moved > 0, "no steady sender was moved");
    });
}

#[test]
fn a_service_that_changes_its_type_loses_nothing_on_the_frontends_that_stay() {
    on_each_plane(|node| {
        let endpoints = all_ready([A1, A2, B1]);
        let outside = outside_ip(Family::V4, 7);
        let node_port = || with_ports(service("web"), Some(NODE_PORT));
        let balanced = || node_port().load_balancer(outside);
        let at_node = SocketAddr::new(NODE.ip(Family::V4), NODE_PORT);

        node.serve(&web(), &endpoints).unwrap();
        let always = Traffic::start(node, CLIENT, vip());
        node.serve(&node_port(), &endpoints).unwrap();
        let on_node_port = Traffic::start(node, NEIGHBOUR, at_node);
        node.serve(&balanced(), &endpoints).unwrap();
        let on_address = Traffic::start(node, CLIENT.shifted(1), SocketAddr::new(outside, PORT));
        // The load balancer's address goes first, then the node port.
        let on_address = on_address.stop();
        node.serve(&node_port(), &endpoints).unwrap();
        let on_node_port = on_node_port.stop();
        node.serve(&web(), &endpoints).unwrap();
        let always = always.stop();
        always.assert_nothing_lost("cluster IP", |_| false);
        on_node_port.assert_nothing_lost("node port", |_| false);
        on_address.assert_nothing_lost("load balancer", |_| false);

        let refused = Probe::new(Protocol::Tcp, None, at_node);
        assert_eq!(
            node.lab().probe(&NEIGHBOUR, &refused).unwrap(),
            Outcome::Refused
        );
    });
}

#[test]
fn a_service_that_goes_from_no_endpoint_to_some_and_back_refuses_or_answers_and_loses_nothing() {
    on_each_plane(|node| {
        node.serve(&web(), &[]).unwrap();
        let new = Load::new_connections(node.lab(), route(CLIENT, vip()), 200).unwrap();
        let senders = Load::datagrams(node.lab(), route(CLIENT, vip()), 4, DATAGRAMS).unwrap();
        sleep(STEP);
        let mut phases: Vec<(Change, Instant)> = Vec::new();
        let mut removals = Vec::new();
        for _ in 0..5 {
            let some = node.serve(&web(), &all_ready([A1, A2, B1])).unwrap();
            sleep(STEP);
            phases.push((some, Instant::now()));
            removals.push(node.serve(&web(), &[]).unwrap());
            sleep(STEP);
        }
        let last = node.serve(&web(), &all_ready([A1, A2])).unwrap();
        sleep(STEP);
        let (new, senders) = (new.stop(), senders.stop());
        phases.push((last, Instant::now()));

        let has_endpoint = |attempt: &Attempt| {
            phases
                .iter()
                .any(|(some, until)| some.is_before(attempt) && attempt.at + attempt.took < *until)
        };
        let excused = |attempt: &Attempt| is_refused(attempt) && !has_endpoint(attempt);
        eprintln!(
            "  {} connections, {} of them refused; {} datagrams, {} of them not answered",
            new.attempts.len(),
            new.failures().len(),
            senders.attempts.len(),
            senders.failures().len()
        );
        assert_eq!(lost(&new, excused), [""; 0], "connections");
        let in_flight = |attempt: &Attempt| removals.iter().any(|removal| removal.meets(attempt));
        for answers in [new.answers(), senders.answers()] {
            assert!(
                !answers.contains_key(ROUTER.name),
                "not translated: {answers:?}"
            );
        }
        assert_eq!(
            lost(&senders, |attempt| excused(attempt) || in_flight(attempt)),
            [""; 0],
            "datagrams"
        );
        assert!(new.failures().iter().any(|(_, o)| **o == Outcome::Refused));
        assert!(
            senders
                .failures()
                .iter()
                .any(|(_, o)| **o == Outcome::Refused)
        );
    });
}

#[test]
fn affinity_survives_the_changes_of_others_moves_with_its_endpoint_and_expires() {
    const CLIENTS: u8 = 16;
    let affine = |seconds| web().affinity(seconds);
    let picks = |node: &ServedNode| -> Vec<String> {
        (0..CLIENTS)
            .map(|n| {
                let from = CLIENT.shifted(n);
                let probe = Probe::new(Protocol::Tcp, Some(from.ip(Family::V4)), vip());
                let outcome = node.lab().probe(&from, &probe).unwrap();
                outcome
                    .endpoint()
                    .unwrap_or_else(|| panic!("client {n}: {outcome}"))
                    .to_owned()
            })
            .collect()
    };
    on_each_plane(|node| {
        let all = [A1, A2, A3, B1];
        node.serve(&affine(30), &all_ready([A1, A2, A3])).unwrap();
        let steady = CLIENT.shifted(CLIENTS);
        let load = Load::new_connections(node.lab(), route(steady, vip()), CONNECTIONS).unwrap();
        let first = picks(node);
        assert!(first.iter().collect::<BTreeSet<_>>().len() > 1, "{first:?}");
        node.serve(&affine(30), &all_ready(all)).unwrap();
        assert_eq!(picks(node), first, "an endpoint was added");

        let gone = A1;
        node.serve(&affine(30), &all_ready([A2, A3, B1])).unwrap();
        for (was, is) in first.iter().zip(picks(node)) {
            assert!(
                is != gone.name && (*was == is || *was == gone.name),
                "{was} -> {is}"
            );
        }
        let second = picks(node);
        // A new timeout forgets no client.
        node.serve(&affine(2), &all_ready([A2, A3, B1])).unwrap();
        assert_eq!(picks(node), second, "the timeout was changed");
        sleep(Duration::from_secs(1));
        assert_eq!(picks(node), second, "not silent for long enough");

        // The chance that all pick the same again is 3^-16.
        sleep(Duration::from_millis(3300));
        assert_ne!(picks(node), second, "affinity did not expire");
        let report = load.stop();
        eprintln!(
            "  {} connections of a steady client: {:?}",
            report.attempts.len(),
            report.answers()
        );
        assert_eq!(lost(&report, |_| false), [""; 0]);
        // It never paused, so it moved only if its endpoint went.
        assert!(report.answers().len() <= 2, "{:?}", report.answers());
    });
}

#[test]
fn a_frontend_that_appears_later_answers_those_who_sent_to_it_before() {
    on_each_plane(|node| {
        let (external, balancer) = (outside_ip(Family::V4, 5), outside_ip(Family::V4, 6));
        let cluster = SocketAddr::new(cluster_ip(Family::V4, 10), PORT);
        let at = |ip| SocketAddr::new(ip, PORT);
        let steps: [(&str, SocketAddr, ServiceBuilder); 4] = [
            ("the service itself", cluster, web()),
            ("an external IP", at(external), web().external_ip(external)),
            (
                "a node port",
                SocketAddr::new(NODE.ip(Family::V4), NODE_PORT),
                with_ports(service("web"), Some(NODE_PORT)).external_ip(external),
            ),
            (
                "a load balancer's IP",
                at(balancer),
                with_ports(service("web"), Some(NODE_PORT))
                    .external_ip(external)
                    .load_balancer(balancer),
            ),
        ];
        // Slices may come before their service.
        node.change(|catalog| catalog.set_slice(web().slice(Family::V4, &all_ready([A1, B1]))))
            .unwrap();
        // Nobody beyond the node answers: an answer that is under way while the entry of its flow is deleted would make an
        // entry of its own, in the other direction, which translates nothing.
        let silence = "add table ip silence
            add chain ip silence in { type filter hook prerouting priority -400; }
            add rule ip silence in udp dport 80 drop";
        let router = node.lab().namespace(&ROUTER);
        router.program("nft", &["-f", "-"], silence).unwrap();
        let pods = [Some(A1.name), Some(B1.name)];
        for (what, to, service) in steps {
            let load = Load::datagrams(node.lab(), route(CLIENT, to), 3, DATAGRAMS).unwrap();
            sleep(3 * STEP);
            let change = node
                .change(|catalog| catalog.set_service(service.build()))
                .unwrap();
            sleep(6 * STEP);
            let report = load.stop();
            let after: Vec<_> = report
                .attempts
                .iter()
                .filter(|a| change.is_before(a))
                .collect();
            let before: Vec<_> = report
                .attempts
                .iter()
                .filter(|a| change.is_after(a))
                .collect();
            assert!(
                before.iter().all(|a| !pods.contains(&a.outcome.endpoint())),
                "{what}"
            );
            assert!(after.len() >= 3, "{what}: too little load");
            let wrong: Vec<String> = after
                .iter()
                .filter(|attempt| !pods.contains(&attempt.outcome.endpoint()))
                .map(|attempt| format!("{:?}: {}", attempt.at - change.done, attempt.outcome))
                .collect();
            assert_eq!(wrong, [""; 0], "{what}");
        }
    });
}

#[test]
fn an_endpoint_that_terminates_keeps_its_connections_and_gets_no_new_ones() {
    on_each_plane(|node| {
        node.serve(&web(), &all_ready([A1])).unwrap();
        let kept = Load::long_lived(node.lab(), route(CLIENT, vip()), 8, 40).unwrap();
        sleep(STEP);
        let new = Load::new_connections(node.lab(), route(CLIENT, vip()), CONNECTIONS).unwrap();
        let both = node.serve(&web(), &all_ready([A1, A2])).unwrap();
        sleep(STEP);
        // It terminates, then serves no more, then is gone from the slice.
        let change = node.serve(&web(), &[draining(A1), ready(A2)]).unwrap();
        sleep(STEP);
        node.serve(&web(), &[ending(A1), ready(A2)]).unwrap();
        sleep(STEP);
        node.serve(&web(), &[ready(A2)]).unwrap();
        sleep(STEP);
        let (new, kept) = (new.stop(), kept.stop());
        assert_eq!(lost(&new, |_| false), [""; 0]);
        assert_eq!(lost(&kept, |_| false), [""; 0]);
        let answers = kept.answers();
        assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [A1.name]);
        assert!(answers[A1.name] > 8 * 10, "{answers:?}");
        assert!(answers_of(&new, &A2, both.done, change.began) > 0);
        let end = Instant::now();
        assert_eq!(answers_of(&new, &A1, change.done, end), 0);
    });
}
