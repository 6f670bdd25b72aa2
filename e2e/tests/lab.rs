//! The lab itself: with hand-made rules, every outcome of a probe comes out as it should.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sluice_e2e::lab::load::{Attempt, Load, Route};
use sluice_e2e::lab::places::{
    A1, A2, B1, CLIENT, DAEMON_NAME, DAEMON_PORT, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_LOOPBACK,
    NODE_SECOND, Place, ROUTER,
};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::surroundings::{Programs, Surrounding};
use sluice_service_plan::model::{Family, Protocol};

fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.96.0.10".parse().unwrap(),
        Family::V6 => "fd00:10:96::10".parse().unwrap(),
    }
}

/// An address that a test drops packets for.
fn silent(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.96.0.11".parse().unwrap(),
        Family::V6 => "fd00:10:96::11".parse().unwrap(),
    }
}

/// An address that no rule knows.
fn nowhere(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.96.0.12".parse().unwrap(),
        Family::V6 => "fd00:10:96::12".parse().unwrap(),
    }
}

fn rule(lab: &Lab, family: Family, rule: &str) {
    let program = if family == Family::V4 {
        "iptables"
    } else {
        "ip6tables"
    };
    lab.node().command(&format!("{program} {rule}")).unwrap();
}

fn forward_to(lab: &Lab, family: Family, protocol: Protocol, endpoint: &Place) {
    let (vip, to) = (vip(family), SocketAddr::new(endpoint.ip(family), 8080));
    for chain in ["PREROUTING", "OUTPUT"] {
        let matches = format!("-d {vip} -p {protocol} --dport 80");
        rule(
            lab,
            family,
            &format!("-t nat -A {chain} {matches} -j DNAT --to-destination {to}"),
        );
    }
}

fn seen(endpoint: &Place, outcome: &Outcome) -> IpAddr {
    match outcome {
        Outcome::Reached {
            endpoint: told,
            source,
            ..
        } if told == endpoint.name => source.ip(),
        other => panic!("{} should have answered, but: {other}", endpoint.name),
    }
}

fn each(mut test: impl FnMut(Family, Protocol)) {
    for family in Family::ALL {
        for protocol in Protocol::ALL {
            test(family, protocol);
        }
    }
}

#[test]
fn a_lab_is_up_soon() {
    let start = Instant::now();
    let lab = Lab::up().unwrap();
    let up = start.elapsed();
    let start = Instant::now();
    drop(lab);
    eprintln!("up in {up:?}, down in {:?}", start.elapsed());
    // A moment, on a machine that has nothing else to do.
    assert!(up < Duration::from_secs(30), "{up:?}");
}

#[test]
fn a_rule_that_forwards_shows_the_endpoint_and_the_unchanged_source() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        forward_to(
            &lab,
            family,
            protocol,
            if protocol == Protocol::Udp { &B1 } else { &A1 },
        );
    });
    each(|family, protocol| {
        let endpoint = if protocol == Protocol::Udp { &B1 } else { &A1 };
        for from in [&CLIENT, &NEIGHBOUR, &A2, &A1.shifted(0)] {
            if from.home == endpoint.home {
                continue;
            }
            let probe = Probe::new(protocol, None, SocketAddr::new(vip(family), 80));
            let source = seen(endpoint, &lab.probe(from, &probe).unwrap());
            assert_eq!(source, from.ip(family), "{protocol} from {}", from.name);
        }
        let other = CLIENT.shifted(3);
        let probe = Probe::new(
            protocol,
            Some(other.ip(family)),
            SocketAddr::new(vip(family), 80),
        );
        assert_eq!(
            seen(endpoint, &lab.probe(&other, &probe).unwrap()),
            other.ip(family)
        );
    });
}

#[test]
fn a_masqueraded_client_has_the_address_of_the_interface_on_the_way_and_a_pod_reaches_itself() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        forward_to(
            &lab,
            family,
            protocol,
            if protocol == Protocol::Udp { &B1 } else { &A1 },
        );
    });
    for family in Family::ALL {
        rule(&lab, family, "-t nat -A POSTROUTING -j MASQUERADE");
    }
    each(|family, protocol| {
        let (endpoint, expected) = if protocol == Protocol::Udp {
            (&B1, NODE)
        } else {
            (&A1, NODE_BRIDGE)
        };
        for from in [&CLIENT, &A1, &NODE] {
            let probe = Probe::new(protocol, None, SocketAddr::new(vip(family), 80));
            let source = seen(endpoint, &lab.probe(from, &probe).unwrap());
            assert_eq!(source, expected.ip(family), "{protocol} from {}", from.name);
        }
    });
    lab.set_hairpin(&A1, false).unwrap();
    let probe = Probe::new(Protocol::Tcp, None, SocketAddr::new(vip(Family::V4), 80));
    assert_eq!(
        lab.probe(&A1, &probe.expecting_silence()).unwrap(),
        Outcome::TimedOut
    );
}

#[test]
fn a_refusal_a_silence_and_a_way_out_are_told_apart_for_outside_pod_and_node() {
    let lab = Lab::up().unwrap();
    let places = [CLIENT, A1, NODE, B1];
    for family in Family::ALL {
        for chain in ["FORWARD", "OUTPUT"] {
            let refused = format!("-A {chain} -d {} -j REJECT", vip(family));
            rule(
                &lab,
                family,
                &format!("{refused} -p tcp --reject-with tcp-reset"),
            );
            rule(&lab, family, &refused);
            rule(
                &lab,
                family,
                &format!("-A {chain} -d {} -j DROP", silent(family)),
            );
        }
    }
    let all = |from: &Place, to: fn(Family) -> IpAddr, times: usize, adapt: fn(Probe) -> Probe| {
        let mut probes = Vec::new();
        each(|family, protocol| {
            let probe = Probe::new(protocol, None, SocketAddr::new(to(family), 80));
            probes.extend(vec![adapt(probe); times]);
        });
        lab.probe_all(from, probes).unwrap()
    };
    for from in places {
        // More than a host's limit on ICMP errors to one peer (6) would let through, less than all peers' (50).
        let refused = all(&from, vip, 8, |probe| probe);
        assert!(
            refused.iter().all(|one| *one == Outcome::Refused),
            "{}: {refused:?}",
            from.name
        );
        let dropped = all(&from, silent, 1, Probe::expecting_silence);
        assert!(
            dropped.iter().all(|one| *one == Outcome::TimedOut),
            "{}: {dropped:?}",
            from.name
        );
        let routed = all(&from, nowhere, 8, |probe| probe);
        assert!(
            routed.iter().all(|one| one.endpoint() == Some(ROUTER.name)),
            "{}: {routed:?}",
            from.name
        );
    }
}

#[test]
fn hosts_answer_on_their_own_addresses_and_refuse_closed_ports() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        for (from, to) in [
            (&CLIENT, &A1),
            (&A1, &B1),
            (&B1, &A2),
            (&NODE, &B1),
            (&CLIENT, &NODE),
        ] {
            let probe = Probe::new(protocol, None, SocketAddr::new(to.ip(family), 8081));
            let source = seen(to, &lab.probe(from, &probe).unwrap());
            // The remote pods share one namespace, whose first address they send from unless told.
            if from.home != B1.home {
                let expected = if from.home == NODE.home && to.home == A1.home {
                    NODE_BRIDGE
                } else {
                    *from
                };
                assert_eq!(source, expected.ip(family));
            }
        }
        if protocol != Protocol::Sctp {
            let closed = Probe::new(protocol, None, SocketAddr::new(NODE.ip(family), 9));
            assert_eq!(lab.probe(&CLIENT, &closed).unwrap(), Outcome::Refused);
        }
    });
    for address in [NODE, NODE_SECOND, NODE_BRIDGE] {
        for family in Family::ALL {
            let to = SocketAddr::new(address.ip(family), DAEMON_PORT);
            let outcome = lab
                .probe(&CLIENT, &Probe::new(Protocol::Tcp, None, to))
                .unwrap();
            assert_eq!(outcome.endpoint(), Some(DAEMON_NAME));
        }
    }
}

#[test]
fn many_probes_at_once_all_come_back() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        forward_to(&lab, family, protocol, &A1);
        let probe = Probe::new(protocol, None, SocketAddr::new(vip(family), 80));
        let outcomes = lab.probe_all(&CLIENT, vec![probe; 64]).unwrap();
        let reached = outcomes
            .iter()
            .filter(|outcome| outcome.endpoint() == Some("a1"))
            .count();
        assert_eq!(reached, 64, "{protocol} {family:?}: {outcomes:?}");
    });
}

#[test]
fn a_neighbour_can_send_for_the_nodes_loopback_if_nothing_guards_it() {
    let lab = Lab::up().unwrap();
    let to = SocketAddr::new(NODE_LOOPBACK.ip(Family::V4), DAEMON_PORT);
    let probe = Probe::new(Protocol::Tcp, None, to);
    assert_eq!(
        lab.probe(&NEIGHBOUR, &probe.expecting_silence()).unwrap(),
        Outcome::TimedOut
    );
    lab.node()
        .sysctl("net/ipv4/conf/all/route_localnet", "1")
        .unwrap();
    assert_eq!(
        lab.probe(&NEIGHBOUR, &probe).unwrap().endpoint(),
        Some(DAEMON_NAME)
    );
}

#[test]
fn a_packet_that_leaves_the_node_with_a_mark_vanishes_where_marks_do() {
    let lab = Lab::up().unwrap();
    let programs = Programs {
        v4: "iptables",
        v6: "ip6tables",
    };
    let to = |pod: &Place| {
        Probe::new(
            Protocol::Tcp,
            None,
            SocketAddr::new(pod.ip(Family::V4), 8080),
        )
    };
    let marked = "-t mangle -A POSTROUTING -d 10.244.0.12 -j MARK --set-mark 0x4000";
    rule(&lab, Family::V4, marked);
    Surrounding::MarksVanish
        .start(lab.node(), programs)
        .unwrap();
    assert_eq!(
        lab.probe(&CLIENT, &to(&A1)).unwrap().endpoint(),
        Some(A1.name)
    );
    assert_eq!(
        lab.probe(&CLIENT, &to(&A2).expecting_silence()).unwrap(),
        Outcome::TimedOut
    );
    Surrounding::MarksVanish.stop(lab.node(), programs).unwrap();
    assert_eq!(
        lab.probe(&CLIENT, &to(&A2)).unwrap().endpoint(),
        Some(A2.name)
    );
}

#[test]
fn every_kind_of_load_reports_what_failed_and_when() {
    let lab = Lab::up().unwrap();
    let family = Family::V4;
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        forward_to(&lab, family, protocol, &B1);
    }
    let route = Route {
        from: CLIENT,
        to: SocketAddr::new(vip(family), 80),
        patience: Duration::from_secs(5),
    };
    let loads = |route| {
        [
            Load::new_connections(&lab, route, 50).unwrap(),
            Load::datagrams(&lab, route, 2, 25).unwrap(),
            Load::long_lived(&lab, route, 2, 25).unwrap(),
        ]
    };
    let is_answered = |attempt: &Attempt| attempt.outcome.endpoint().is_some();
    for mut load in loads(route) {
        load.wait_until(|seen| seen.iter().filter(|one| is_answered(one)).count() >= 10);
        let report = load.stop().unwrap();
        assert_eq!(report.failures(), []);
        assert!(report.answers()[B1.name] >= 10, "{:?}", report.answers());
        assert!(report.slowest() < route.patience);
    }
    let route = Route {
        patience: Duration::from_secs(1),
        ..route
    };
    let mut broken = loads(route);
    for load in &mut broken {
        load.wait_until(|seen| seen.iter().filter(|one| is_answered(one)).count() >= 10);
    }
    let dropped = Instant::now();
    rule(&lab, family, "-I FORWARD -j DROP");
    for mut load in broken {
        load.wait_until(|seen| !seen.iter().all(is_answered));
        let report = load.stop().unwrap();
        let failures = report.failures();
        assert!(!failures.is_empty());
        let ended = |at: Duration| report.started + at + route.patience;
        assert!(
            failures.iter().all(|(at, _)| ended(*at) >= dropped),
            "{failures:?}"
        );
        assert!(
            failures
                .iter()
                .all(|(_, outcome)| **outcome == Outcome::TimedOut),
            "{failures:?}"
        );
    }
}

#[test]
fn a_load_that_waits_for_lost_syns_tells_of_them() {
    let lab = Lab::up().unwrap();
    let family = Family::V4;
    forward_to(&lab, family, Protocol::Tcp, &B1);
    let route = Route {
        from: CLIENT,
        to: SocketAddr::new(vip(family), 80),
        patience: Duration::from_secs(20),
    };
    let mut load = Load::new_connections(&lab, route, 50).unwrap();
    load.wait_until(|seen| seen.len() >= 10);
    rule(&lab, family, "-w -I FORWARD -j DROP");
    std::thread::sleep(Duration::from_millis(300));
    rule(&lab, family, "-w -D FORWARD -j DROP");
    load.wait_until(|seen| seen.iter().any(|one| one.took >= Duration::from_secs(1)));
    let report = load.stop().unwrap();
    assert_eq!(report.failures(), []);
    assert!(report.syn_retransmits > 0);
}
