//! The conntrack door against real flows, with the `conntrack` program as the other witness; and its twin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use namespace::{in_new_namespace, sh, skip, without_net_admin};
use sluice_kernel::conntrack::{
    Conntrack, ConntrackError, ConntrackNetlink, Family, Flow, IpProtocol, MemoryConntrack, Tuple,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs `test` in a namespace where connections are tracked, unless the kernel cannot.
fn tracked(test: impl FnOnce(&mut ConntrackNetlink) + Send) {
    in_new_namespace(|| {
        for iptables in ["iptables-legacy", "ip6tables-legacy"] {
            sh(&format!(
                "{iptables} -w -A INPUT -m conntrack --ctstate NEW -j ACCEPT"
            ));
        }
        match ConntrackNetlink::open() {
            Err(ConntrackError::Unsupported) => skip("the kernel has no conntrack netlink"),
            opened => test(&mut opened.unwrap()),
        }
    });
}

/// Sends one datagram and gives the port that it came from.
fn send(from: IpAddr, to: SocketAddr) -> u16 {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.send_to(b"x", to).unwrap();
    socket.local_addr().unwrap().port()
}

fn list(door: &mut dyn Conntrack, family: Family) -> Vec<Flow> {
    let mut flows = Vec::new();
    door.list(family, &mut |flow| flows.push(*flow)).unwrap();
    flows
}

/// A flow in the words of `conntrack -L`, for comparison.
type Witnessed = (String, Vec<String>, String);

/// What `conntrack -L` lists of TCP, UDP and SCTP.
fn witnessed(options: &str) -> BTreeSet<Witnessed> {
    let listing = sh(&format!("conntrack -L {options} 2>/dev/null"));
    let protocols = ["tcp", "udp", "sctp"];
    listing
        .lines()
        .filter(|line| protocols.iter().any(|protocol| line.starts_with(protocol)))
        .map(|line| {
            let mut tuples = Vec::new();
            let mut rest = BTreeMap::new();
            for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
                if ["src", "dst", "sport", "dport"].contains(&key) {
                    tuples.push(value.to_owned());
                } else {
                    rest.insert(key, value.to_owned());
                }
            }
            let zone = rest.remove("zone").unwrap_or_else(|| "0".to_owned());
            (line.split(' ').next().unwrap().to_owned(), tuples, zone)
        })
        .collect()
}

/// The same flows in the same words.
fn as_witnessed(flows: &[Flow]) -> BTreeSet<Witnessed> {
    let words = |flow: &Flow| {
        let protocol = match flow.protocol {
            IpProtocol::TCP => "tcp",
            IpProtocol::UDP => "udp",
            IpProtocol::SCTP => "sctp",
            other => panic!("{other:?} should not be visited"),
        };
        let tuples = [flow.original, flow.reply].into_iter().flat_map(|tuple| {
            let ports = [tuple.source_port, tuple.destination_port].map(|port| port.to_string());
            [tuple.source, tuple.destination]
                .map(|ip| ip.to_string())
                .into_iter()
                .chain(ports)
        });
        (protocol.to_owned(), tuples.collect(), flow.zone.to_string())
    };
    flows.iter().map(words).collect()
}

#[test]
fn flows_of_each_family_are_listed_as_the_conntrack_program_lists_them() {
    tracked(|door| {
        let port = send(LOCAL, (LOCAL, 9_000).into());
        let v6: IpAddr = "::1".parse().unwrap();
        send(v6, (v6, 9_000).into());
        sh(
            "conntrack -I -p sctp -s 10.0.0.1 -d 10.0.0.2 --sport 1 --dport 2 --state ESTABLISHED \
            --orig-vtag 1 --reply-vtag 2 -t 100 2>/dev/null",
        );
        sh(
            "conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1 --dport 2 --state ESTABLISHED \
            -t 100 2>/dev/null",
        );
        sh(
            "conntrack -I -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 1 \
            -t 100 2>/dev/null",
        );
        let v4_flows = list(door, Family::V4);
        assert_eq!(v4_flows.len(), 3);
        assert_eq!(as_witnessed(&v4_flows), witnessed("-f ipv4"));
        let v6_flows = list(door, Family::V6);
        assert_eq!(v6_flows.len(), 1);
        assert_eq!(as_witnessed(&v6_flows), witnessed("-f ipv6"));
        let udp = v4_flows
            .iter()
            .find(|flow| flow.protocol == IpProtocol::UDP)
            .unwrap();
        let original = Tuple {
            source: LOCAL,
            destination: LOCAL,
            source_port: port,
            destination_port: 9_000,
        };
        let reply = Tuple {
            source_port: 9_000,
            destination_port: port,
            ..original
        };
        let expected = Flow {
            family: Family::V4,
            protocol: IpProtocol::UDP,
            original,
            reply,
            zone: 0,
            destination_translated: false,
            source_translated: false,
        };
        assert_eq!(*udp, expected);
    });
}

#[test]
fn a_translated_destination_is_told_with_where_the_flow_really_goes() {
    tracked(|door| {
        sh("ip address add 10.96.0.1/32 dev lo
            iptables-legacy -w -t nat -A OUTPUT -d 10.96.0.1 -p udp --dport 53 -j DNAT --to 127.0.0.1:5353
            iptables-legacy -w -t nat -A POSTROUTING -p udp --dport 7000 -j SNAT --to 10.96.0.1");
        let service: IpAddr = "10.96.0.1".parse().unwrap();
        send(service, (service, 53).into());
        send(service, (service, 54).into());
        send(LOCAL, (LOCAL, 7_000).into());
        let flows = list(door, Family::V4);
        assert_eq!(flows.len(), 3);
        let (translated, others): (Vec<Flow>, Vec<Flow>) =
            flows.iter().partition(|flow| flow.destination_translated);
        assert_eq!(as_witnessed(&translated), witnessed("-f ipv4 --dst-nat"));
        assert_eq!((translated.len(), others.len()), (1, 2));
        let flow = translated[0];
        assert_eq!(
            (flow.original.destination, flow.original.destination_port),
            (service, 53)
        );
        assert_eq!((flow.reply.source, flow.reply.source_port), (LOCAL, 5_353));
        let masked: Vec<&Flow> = flows.iter().filter(|flow| flow.source_translated).collect();
        assert_eq!(masked.len(), 1);
        assert_eq!(masked[0].original.destination_port, 7_000);
        assert_eq!(masked[0].reply.destination, service);
    });
}

#[test]
fn deleted_flows_are_gone_and_the_others_stay() {
    tracked(|door| {
        let v6: IpAddr = "::1".parse().unwrap();
        for port in 9_000..9_010 {
            send(LOCAL, (LOCAL, port).into());
            send(v6, (v6, port).into());
        }
        sh(
            "conntrack -I -p sctp -s 10.0.0.1 -d 10.0.0.2 --sport 1 --dport 9005 --state ESTABLISHED \
            --orig-vtag 1 --reply-vtag 2 -t 100 2>/dev/null",
        );
        let all = [list(door, Family::V4), list(door, Family::V6)].concat();
        let (doomed, kept): (Vec<Flow>, Vec<Flow>) = all
            .iter()
            .partition(|flow| flow.original.destination_port >= 9_004);
        assert_eq!(door.delete(&doomed).unwrap(), 13);
        let left = [list(door, Family::V4), list(door, Family::V6)].concat();
        assert_eq!(as_witnessed(&left), as_witnessed(&kept));
        assert_eq!(door.delete(&doomed).unwrap(), 0, "gone already");
        assert_eq!(witnessed("-f ipv4").len() + witnessed("-f ipv6").len(), 8);
    });
}

#[test]
fn a_flow_is_deleted_in_its_zone_only() {
    tracked(|door| {
        sh(
            "iptables-legacy -w -t raw -A OUTPUT -p udp --dport 7000 -j CT --zone 7
            iptables-legacy -w -t raw -A OUTPUT -p udp --dport 7001 -j CT --zone-orig 8",
        );
        for port in [7_000, 7_001] {
            send(LOCAL, (LOCAL, port).into());
        }
        let flows = list(door, Family::V4);
        let mut zones: Vec<_> = flows
            .iter()
            .map(|flow| (flow.original.destination_port, flow.zone))
            .collect();
        zones.sort_unstable();
        assert_eq!(zones, [(7_000, 7), (7_001, 8)]);
        let elsewhere: Vec<_> = flows.iter().map(|flow| Flow { zone: 0, ..*flow }).collect();
        assert_eq!(door.delete(&elsewhere).unwrap(), 0);
        assert_eq!(door.delete(&flows).unwrap(), 2);
        assert_eq!(list(door, Family::V4), []);
    });
}

#[test]
fn a_table_of_many_parts_is_visited_whole() {
    tracked(|door| {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        for port in 10_000..30_000 {
            socket.send_to(b"x", (LOCAL, port)).unwrap();
        }
        let flows = list(door, Family::V4);
        let mut ports: Vec<_> = flows
            .iter()
            .map(|flow| flow.original.destination_port)
            .collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(10_000..30_000));
        assert_eq!(door.delete(&flows).unwrap(), 20_000);
    });
}

#[test]
fn counters_are_those_of_the_conntrack_program() {
    tracked(|door| {
        for port in 9_000..9_020 {
            send(LOCAL, (LOCAL, port).into());
        }
        let statistics = door.statistics().unwrap();
        assert_eq!(statistics.entries.to_string(), sh("conntrack -C").trim());
        assert_eq!(statistics.entries, 20);
        let max = sh("cat /proc/sys/net/netfilter/nf_conntrack_max");
        assert_eq!(statistics.max_entries.unwrap().to_string(), max.trim());
        let listing = sh("conntrack -S");
        let told = |counter: &str| -> u64 {
            let words = listing
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            words
                .filter(|(key, _)| *key == counter)
                .map(|(_, n)| n.parse::<u64>().unwrap())
                .sum()
        };
        let counters = [
            statistics.insert_failed,
            statistics.dropped,
            statistics.early_dropped,
        ];
        assert_eq!(
            counters,
            [told("insert_failed"), told("drop"), told("early_drop")]
        );
    });
}

#[test]
fn without_the_capability_the_door_does_not_open() {
    without_net_admin("without_the_capability_the_door_does_not_open", || {
        let refused = ConntrackNetlink::open().err();
        assert!(
            matches!(refused, Some(ConntrackError::NotPermitted)),
            "{refused:?}"
        );
    });
}

#[test]
fn the_twin_lists_by_family_deletes_by_original_tuple_and_fails_when_told() {
    let shared = MemoryConntrack::new();
    let mut door = shared.clone();
    let flow = |ip: &str, port| Flow {
        family: if ip.contains(':') {
            Family::V6
        } else {
            Family::V4
        },
        protocol: IpProtocol::UDP,
        original: Tuple {
            source: ip.parse().unwrap(),
            destination: ip.parse().unwrap(),
            source_port: 1,
            destination_port: port,
        },
        reply: Tuple {
            source: ip.parse().unwrap(),
            destination: ip.parse().unwrap(),
            source_port: port,
            destination_port: 1,
        },
        zone: 0,
        destination_translated: true,
        source_translated: false,
    };
    let (one, two, six) = (flow("10.0.0.1", 1), flow("10.0.0.1", 2), flow("fd00::1", 1));
    for flow in [one, one, two, six] {
        shared.insert(flow);
    }
    assert_eq!(list(&mut door, Family::V4), [one, two]);
    assert_eq!(list(&mut door, Family::V6), [six]);
    let other_reply = Flow {
        reply: six.reply,
        ..one
    };
    let other_zone = Flow { zone: 1, ..two };
    shared.fail_after(0, || ConntrackError::NotPermitted);
    assert!(matches!(
        door.delete(&[one]),
        Err(ConntrackError::NotPermitted)
    ));
    assert_eq!(door.delete(&[other_reply, other_zone, one]).unwrap(), 1);
    assert_eq!((shared.flows(), shared.lists()), (vec![two, six], 2));
}
