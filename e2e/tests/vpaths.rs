//! Ways of packets that show what an address bound to the node may spoil: the node's own packets, reverse path filters, tunnels, echo
//! requests, a firewall on the node.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::places::{
    A1, A3, B1, B2, CLIENT, LAN_INTERFACE, NODE, NODE_BRIDGE, Place, REMOTE_NODE,
};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::build::{
    NODE_PORT, PORT, ServiceBuilder, all_ready, cluster_ip, node_pod_networks, outside_ip, service,
};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_service_plan::model::{Family, LocalDetector, Protocol, Settings};

/// `default/web`: TCP and UDP on a cluster IP, an external IP and a node port, in each family.
fn everything() -> ServiceBuilder {
    let addresses = Family::ALL
        .into_iter()
        .fold(service("web"), |service, family| {
            service
                .cluster_ip(cluster_ip(family, 10))
                .external_ip(outside_ip(family, 10))
        });
    let with = addresses
        .port("tcp", Protocol::Tcp, PORT)
        .node_port(NODE_PORT);
    with.port("udp", Protocol::Udp, PORT).node_port(NODE_PORT)
}

fn frontends(family: Family) -> [SocketAddr; 3] {
    [
        SocketAddr::new(cluster_ip(family, 10), PORT),
        SocketAddr::new(outside_ip(family, 10), PORT),
        SocketAddr::new(NODE.ip(family), NODE_PORT),
    ]
}

fn each_plane(settings: impl Fn(&PlaneUnderTest) -> Vec<Settings>, test: impl Fn(&mut ServedNode)) {
    for plane in planes::here() {
        for settings in settings(plane) {
            eprintln!("on {}, {:?}:", plane.name, settings.detect_local);
            let mut node = ServedNode::start(plane.open, plane.settings(settings)).unwrap();
            test(&mut node);
        }
    }
}

/// With and without something that tells this node's pods from others.
fn detectors(_: &PlaneUnderTest) -> Vec<Settings> {
    let by = |detect_local| Settings {
        detect_local,
        ..Settings::default()
    };
    vec![
        by(LocalDetector::None),
        by(LocalDetector::Cidrs(node_pod_networks())),
    ]
}

fn filter_reverse_paths(lab: &Lab, places: &[Place]) {
    for place in places {
        for path in ["all", LAN_INTERFACE] {
            let path = format!("net/ipv4/conf/{path}/rp_filter");
            lab.namespace(place).sysctl(&path, "1").unwrap();
        }
    }
}

/// Reaches every frontend from there, with the source that the kernel picks, and returns those that endpoints saw.
fn reach_all(node: &ServedNode, from: &Place, endpoints: &[Place]) -> Vec<SocketAddr> {
    let mut sources = Vec::new();
    for family in Family::ALL {
        for to in frontends(family) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                // As many as to meet each endpoint.
                for _ in 0..endpoints.len() {
                    let probe = Probe::new(protocol, None, to);
                    let outcome = node.lab().probe(from, &probe).unwrap();
                    let Outcome::Reached {
                        endpoint, source, ..
                    } = &outcome
                    else {
                        panic!("{} to {to} {protocol}: {outcome}", from.name);
                    };
                    assert!(
                        endpoints.iter().any(|one| one.name == endpoint),
                        "{outcome}"
                    );
                    sources.push(*source);
                }
            }
        }
    }
    sources
}

#[test]
fn a_packet_from_the_host_never_has_a_service_address_as_its_source() {
    each_plane(detectors, |node| {
        // The far end and the clients drop what they could not answer on the same way.
        filter_reverse_paths(node.lab(), &[B1, A1, CLIENT]);
        let endpoints = [A1, B1];
        node.serve(&everything(), &all_ready(endpoints)).unwrap();
        let own = Family::ALL.map(|family| [NODE.ip(family), NODE_BRIDGE.ip(family)]);
        for source in reach_all(node, &NODE, &endpoints) {
            assert!(own.as_flattened().contains(&source.ip()), "{source}");
        }
        for from in [CLIENT, A3] {
            for source in reach_all(node, &from, &endpoints) {
                let known = own.as_flattened().contains(&source.ip());
                assert!(
                    known || Family::ALL.map(|f| from.ip(f)).contains(&source.ip()),
                    "{source}"
                );
            }
        }
    });
}

/// The node's pods reach those of the other node through a tunnel, as overlay networks do it, and so do answers.
fn tunnel(lab: &Lab) {
    let ends = [(NODE, REMOTE_NODE, 1, 254), (REMOTE_NODE, NODE, 0, 253)];
    for (own, other, pods, host) in ends {
        let here = 1 - pods;
        let lines = format!(
            "link add overlay type ipip local {} remote {}
             addr add 10.244.{here}.{host}/32 dev overlay
             link set overlay up
             route replace 10.244.{pods}.0/24 dev overlay",
            own.v4, other.v4
        );
        lab.namespace(&own).ip(&lines).unwrap();
    }
}

/// Packets that the node sent that way.
fn sent_through_the_tunnel(lab: &Lab) -> u64 {
    let table = lab.node().command("cat /proc/thread-self/net/dev").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains("overlay:"))
        .unwrap();
    line.split_whitespace().nth(10).unwrap().parse().unwrap()
}

#[test]
fn endpoints_behind_a_tunnel_are_reached_from_everywhere() {
    each_plane(detectors, |node| {
        tunnel(node.lab());
        let service = service("web")
            .cluster_ip(cluster_ip(Family::V4, 10))
            .external_ip(outside_ip(Family::V4, 10))
            .port("tcp", Protocol::Tcp, PORT)
            .node_port(NODE_PORT);
        node.serve(&service, &all_ready([B1, B2])).unwrap();
        for from in [A3, NODE, CLIENT] {
            for to in frontends(Family::V4) {
                // Pods of this node keep their source: the answer has to come back through the tunnel.
                for _ in 0..2 {
                    let probe = Probe::new(Protocol::Tcp, None, to);
                    let outcome = node.lab().probe(&from, &probe).unwrap();
                    assert!(
                        outcome.endpoint().is_some_and(|one| one.starts_with('b')),
                        "{} to {to}: {outcome}",
                        from.name
                    );
                }
            }
        }
        assert!(sent_through_the_tunnel(node.lab()) > 18);
    });
}

#[test]
fn a_service_address_answers_echo_requests_where_it_is_local() {
    each_plane(
        |_| vec![Settings::default()],
        |node| {
            node.serve(&everything(), &all_ready([A1, B1])).unwrap();
            for (from, family) in [CLIENT, A3, NODE]
                .into_iter()
                .flat_map(|from| Family::ALL.map(|f| (from, f)))
            {
                let version = if family == Family::V4 { "-4" } else { "-6" };
                for ip in [cluster_ip(family, 10), outside_ip(family, 10)] {
                    let ping = format!("busybox ping {version} -c 1 -W 3 {ip}");
                    node.lab().namespace(&from).command(&ping).unwrap();
                }
            }
        },
    );
}
