//! Every kind of frontend, reached from everywhere, without local detector.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, Protocol, SlicePort};

use crate::lab::places::{
    A1, A2, B1, B2, CLIENT, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_SECOND, Place, SERVED_PORTS,
};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, ServiceBuilder, all_ready, cluster_ip, outside_ip, ready, service, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, Source, Untouched, each, packet, reaches};

const EXTERNAL: u8 = 10;
const BALANCER: u8 = 20;

fn everything(family: Family, protocol: Protocol) -> ServiceBuilder {
    web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(family, EXTERNAL))
        .load_balancer(outside_ip(family, BALANCER))
}

pub(super) fn rows() -> Vec<Row> {
    [each_kind_from_everywhere(), ports(), families()].concat()
}

fn each_kind_from_everywhere() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        let scene = Scene::of(everything(family, protocol), &all_ready([A1, B1]));
        let sends = if protocol == Protocol::Tcp {
            [usual(family), more(family)].concat()
        } else {
            usual(family)
        };
        rows.extend(
            sends
                .into_iter()
                .map(|(sentence, from, (to, port), source)| {
                    let expect = reaches([A1, B1], source);
                    scene.row(sentence, packet(from, protocol, to, port), expect)
                }),
        );
    }
    rows
}

/// What is sent, by whom, where to, and which source arrives.
type Sent = (&'static str, Place, (IpAddr, u16), Source);

fn usual(family: Family) -> Vec<Sent> {
    let vip = (cluster_ip(family, 10), PORT);
    let external = (outside_ip(family, EXTERNAL), PORT);
    let balancer = (outside_ip(family, BALANCER), PORT);
    let node_port = (NODE.ip(family), NODE_PORT);
    vec![
        (
            "a pod reaches every endpoint by the cluster IP",
            A2,
            vip,
            Kept,
        ),
        (
            "the node reaches every endpoint by the cluster IP",
            NODE,
            vip,
            Kept,
        ),
        (
            "a client outside that routes to it uses the cluster IP",
            CLIENT,
            vip,
            Kept,
        ),
        (
            "a client outside reaches the external IP",
            CLIENT,
            external,
            Masqueraded,
        ),
        (
            "the node reaches the external IP",
            NODE,
            external,
            Masqueraded,
        ),
        (
            "a client outside reaches the load balancer IP",
            CLIENT,
            balancer,
            Masqueraded,
        ),
        (
            "a pod reaches the load balancer IP",
            A2,
            balancer,
            Masqueraded,
        ),
        (
            "a client outside reaches the node port",
            CLIENT,
            node_port,
            Masqueraded,
        ),
        (
            "a pod reaches its own node's node port",
            A2,
            node_port,
            Masqueraded,
        ),
        (
            "the node reaches its own node port",
            NODE,
            node_port,
            Masqueraded,
        ),
    ]
}

fn more(family: Family) -> Vec<Sent> {
    let external = (outside_ip(family, EXTERNAL), PORT);
    let balancer = (outside_ip(family, BALANCER), PORT);
    let node_port = |place: Place| (place.ip(family), NODE_PORT);
    let (first, second, bridge) = (
        node_port(NODE),
        node_port(NODE_SECOND),
        node_port(NODE_BRIDGE),
    );
    vec![
        (
            "a pod of another node reaches the node port",
            B2,
            first,
            Masqueraded,
        ),
        (
            "a second client reaches the load balancer IP",
            NEIGHBOUR,
            balancer,
            Masqueraded,
        ),
        ("a pod reaches the external IP", A2, external, Masqueraded),
        (
            "the node reaches the load balancer IP",
            NODE,
            balancer,
            Masqueraded,
        ),
        (
            "the node's second address has the node port too",
            CLIENT,
            second,
            Masqueraded,
        ),
        (
            "the pod bridge's address has the node port too",
            A2,
            bridge,
            Masqueraded,
        ),
    ]
}

/// Port numbers, port names and protocols.
fn ports() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::ALL {
        let vip = cluster_ip(family, 10);
        for (protocol, other) in [
            (Protocol::Tcp, Protocol::Udp),
            (Protocol::Udp, Protocol::Sctp),
            (Protocol::Sctp, Protocol::Tcp),
        ] {
            let scene = Scene::of(everything(family, protocol), &all_ready([A1]));
            rows.push(scene.row(
                &format!("the cluster IP's {protocol} port refuses other protocols"),
                packet(CLIENT, other, vip, PORT),
                Expect::Rejected,
            ));
            rows.push(scene.row(
                &format!("the external IP's {protocol} port leaves other protocols alone"),
                packet(CLIENT, other, outside_ip(family, EXTERNAL), PORT),
                Expect::NotOurs(Untouched::Routed),
            ));
        }
        let scene = Scene::of(everything(family, Protocol::Tcp), &all_ready([A1]));
        rows.push(scene.row(
            "a TCP node port leaves UDP to the node's own stack",
            packet(CLIENT, Protocol::Udp, NODE.ip(family), NODE_PORT),
            Expect::NotOurs(Untouched::Refused),
        ));
        rows.extend(two_ports(family));
        let all = Protocol::ALL
            .into_iter()
            .fold(service("web").cluster_ip(vip), |service, protocol| {
                service.port(protocol.as_str(), protocol, PORT)
            });
        let scene = Scene::of(all, &all_ready([A1, B1]));
        for protocol in Protocol::ALL {
            rows.push(scene.row(
                "one port number serves three protocols",
                packet(A2, protocol, vip, PORT),
                reaches([A1, B1], Kept),
            ));
        }
    }
    rows
}

fn two_ports(family: Family) -> Vec<Row> {
    let vip = cluster_ip(family, 10);
    let two = service("web")
        .cluster_ip(vip)
        .port("http", Protocol::Tcp, 80)
        .port("admin", Protocol::Tcp, 9000);
    let mut slice = two.slice(family, &[ready(A1), ready(B1)]);
    slice.ports = [("http", SERVED_PORTS[0]), ("admin", SERVED_PORTS[1])]
        .map(|(name, port)| SlicePort {
            name: name.into(),
            protocol: Protocol::Tcp,
            port,
        })
        .into();
    let scene = Scene::of(two, &[]).slice(slice);
    let at = |port| Expect::Reaches([A1, B1].map(|pod| (pod.name, port)).to_vec(), Kept);
    vec![
        scene.row(
            "a named port leads to its target port",
            packet(A2, Protocol::Tcp, vip, 80),
            at(SERVED_PORTS[0]),
        ),
        scene.row(
            "another named port of the service leads to its own target port",
            packet(A2, Protocol::Tcp, vip, 9000),
            at(SERVED_PORTS[1]),
        ),
    ]
}

/// Dual stack.
fn families() -> Vec<Row> {
    let dual = service("web")
        .cluster_ip(cluster_ip(Family::V4, 10))
        .cluster_ip(cluster_ip(Family::V6, 10))
        .port("", Protocol::Tcp, PORT)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(Family::V4, EXTERNAL))
        .external_ip(outside_ip(Family::V6, EXTERNAL));
    let mut different = Scene::of(dual.clone(), &[]);
    for (family, pod) in [(Family::V4, A1), (Family::V6, B1)] {
        different = different.slice(dual.slice(family, &[ready(pod)]));
    }
    let half = Scene::of(dual.clone(), &[]).slice(dual.slice(Family::V4, &[ready(A1)]));
    let mut rows = Vec::new();
    for (family, pod) in [(Family::V4, A1), (Family::V6, B1)] {
        let vip = cluster_ip(family, 10);
        rows.push(different.row(
            "each family of a dual-stack service has its own endpoints",
            packet(A2, Protocol::Tcp, vip, PORT),
            reaches([pod], Kept),
        ));
        rows.push(different.row(
            "each family of a dual-stack service has the node port",
            packet(CLIENT, Protocol::Tcp, NODE.ip(family), NODE_PORT),
            reaches([pod], Masqueraded),
        ));
        rows.push(different.row(
            "each family of a dual-stack service has its external IP",
            packet(CLIENT, Protocol::Tcp, outside_ip(family, EXTERNAL), PORT),
            reaches([pod], Masqueraded),
        ));
        let expect = if family == Family::V4 {
            reaches([A1], Kept)
        } else {
            Expect::Rejected
        };
        rows.push(half.row(
            "a family without endpoints refuses while the other serves",
            packet(A2, Protocol::Tcp, vip, PORT),
            expect,
        ));
    }
    rows
}
