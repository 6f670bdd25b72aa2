//! The lab itself: with hand-made rules, every outcome of a probe comes out as it should.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sluice_e2e::lab::places::{
    A1, A2, B1, CLIENT, DAEMON_NAME, DAEMON_PORT, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_LOOPBACK, NODE_SECOND, Place,
};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_service_plan::model::{Family, Protocol};

fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.96.0.10".parse().unwrap(),
        Family::V6 => "fd00:10:96::10".parse().unwrap(),
    }
}

fn rule(lab: &Lab, family: Family, rule: &str) {
    let program = if family == Family::V4 { "iptables" } else { "ip6tables" };
    lab.node().command(&format!("{program} {rule}")).unwrap();
}

fn forward_to(lab: &Lab, family: Family, protocol: Protocol, endpoint: &Place) {
    let (vip, to) = (vip(family), SocketAddr::new(endpoint.ip(family), 8080));
    for chain in ["PREROUTING", "OUTPUT"] {
        let matches = format!("-d {vip} -p {protocol} --dport 80");
        rule(lab, family, &format!("-t nat -A {chain} {matches} -j DNAT --to-destination {to}"));
    }
}

fn seen(endpoint: &Place, outcome: &Outcome) -> IpAddr {
    match outcome {
        Outcome::Reached { endpoint: told, source, .. } if told == endpoint.name => source.ip(),
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
fn a_lab_is_up_in_less_than_a_second() {
    let start = Instant::now();
    let lab = Lab::up().unwrap();
    let up = start.elapsed();
    drop(lab);
    eprintln!("up in {up:?}, down in {:?}", start.elapsed() - up);
    assert!(up.as_millis() < 1000, "{up:?}");
}

#[test]
fn a_rule_that_forwards_shows_the_endpoint_and_the_unchanged_source() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        forward_to(&lab, family, protocol, if protocol == Protocol::Udp { &B1 } else { &A1 });
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
        let probe = Probe::new(protocol, Some(other.ip(family)), SocketAddr::new(vip(family), 80));
        assert_eq!(seen(endpoint, &lab.probe(&other, &probe).unwrap()), other.ip(family));
    });
}

#[test]
fn a_masqueraded_client_has_the_address_of_the_interface_on_the_way_and_a_pod_reaches_itself() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        forward_to(&lab, family, protocol, if protocol == Protocol::Udp { &B1 } else { &A1 });
    });
    for family in Family::ALL {
        rule(&lab, family, "-t nat -A POSTROUTING -j MASQUERADE");
    }
    each(|family, protocol| {
        let (endpoint, expected) =
            if protocol == Protocol::Udp { (&B1, NODE) } else { (&A1, NODE_BRIDGE) };
        for from in [&CLIENT, &A1, &NODE] {
            let probe = Probe::new(protocol, None, SocketAddr::new(vip(family), 80));
            let source = seen(endpoint, &lab.probe(from, &probe).unwrap());
            assert_eq!(source, expected.ip(family), "{protocol} from {}", from.name);
        }
    });
    lab.set_hairpin(&A1, false).unwrap();
    let probe = Probe::new(Protocol::Tcp, None, SocketAddr::new(vip(Family::V4), 80));
    assert_eq!(lab.probe(&A1, &probe).unwrap(), Outcome::TimedOut);
}

#[test]
fn a_refusal_and_a_silence_are_told_apart_for_outside_pod_and_node() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        for chain in ["FORWARD", "OUTPUT"] {
            let matches = format!("-A {chain} -d {} -p {protocol}", vip(family));
            let reject = if protocol == Protocol::Tcp { "REJECT --reject-with tcp-reset" } else { "REJECT" };
            rule(&lab, family, &format!("{matches} --dport 80 -j {reject}"));
            rule(&lab, family, &format!("{matches} --dport 81 -j DROP"));
        }
    });
    each(|family, protocol| {
        for from in [&CLIENT, &A1, &NODE, &B1] {
            for (port, expected) in [(80, Outcome::Refused), (81, Outcome::TimedOut), (82, Outcome::TimedOut)] {
                let probe = Probe::new(protocol, None, SocketAddr::new(vip(family), port));
                let outcome = lab.probe(from, &probe).unwrap();
                assert_eq!(outcome, expected, "{protocol} port {port} from {}", from.name);
            }
        }
    });
}

#[test]
fn hosts_answer_on_their_own_addresses_and_refuse_closed_ports() {
    let lab = Lab::up().unwrap();
    each(|family, protocol| {
        for (from, to) in [(&CLIENT, &A1), (&A1, &B1), (&B1, &A2), (&NODE, &B1), (&CLIENT, &NODE)] {
            let probe = Probe::new(protocol, None, SocketAddr::new(to.ip(family), 8081));
            let source = seen(to, &lab.probe(from, &probe).unwrap());
            // The remote pods share one namespace, whose first address they send from unless told.
            if from.home != B1.home {
                let expected = if from.home == NODE.home && to.home == A1.home { NODE_BRIDGE } else { *from };
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
            let outcome = lab.probe(&CLIENT, &Probe::new(Protocol::Tcp, None, to)).unwrap();
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
        let reached = outcomes.iter().filter(|outcome| outcome.endpoint() == Some("a1")).count();
        assert_eq!(reached, 64, "{protocol} {family:?}: {outcomes:?}");
    });
}

#[test]
fn a_neighbour_can_send_for_the_nodes_loopback_if_nothing_guards_it() {
    let lab = Lab::up().unwrap();
    let to = SocketAddr::new(NODE_LOOPBACK.ip(Family::V4), DAEMON_PORT);
    let probe = Probe::new(Protocol::Tcp, None, to);
    assert_eq!(lab.probe(&NEIGHBOUR, &probe).unwrap(), Outcome::TimedOut);
    lab.node().sysctl("net/ipv4/conf/all/route_localnet", "1").unwrap();
    assert_eq!(lab.probe(&NEIGHBOUR, &probe).unwrap().endpoint(), Some(DAEMON_NAME));
}
