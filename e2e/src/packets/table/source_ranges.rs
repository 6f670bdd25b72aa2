//! `loadBalancerSourceRanges`.

use ipnet::IpNet;
use sluice_service_plan::model::{Family, Protocol};

use crate::lab::places::{A1, A2, B1, CLIENT, NEIGHBOUR, NODE, NODE_SECOND, Place};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, all_ready, cluster_ip, network, only, outside_ip, web,
};
use crate::packets::row::Source::{Kept, Masqueraded, Unstated};
use crate::packets::row::{Expect, Scene, each, packet, reaches};

const EXTERNAL: u8 = 10;
const BALANCER: u8 = 20;

fn guarded(family: Family, protocol: Protocol, ranges: &[IpNet]) -> Scene {
    let service = web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(family, EXTERNAL))
        .load_balancer(outside_ip(family, BALANCER))
        .source_ranges(ranges);
    Scene::of(service, &all_ready([A1, B1]))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(clients(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(special(family));
    }
    rows
}

fn clients(family: Family, protocol: Protocol) -> Vec<Row> {
    let scene = guarded(family, protocol, &[only(CLIENT.ip(family))]);
    let to_balancer = |from| packet(from, protocol, outside_ip(family, BALANCER), PORT);
    let served = || reaches([A1, B1], Masqueraded);
    vec![
        scene.row(
            "a client inside the source ranges is served",
            to_balancer(CLIENT),
            served(),
        ),
        scene.row(
            "a client outside the source ranges gets no answer",
            to_balancer(CLIENT.shifted(1)),
            Expect::Dropped,
        ),
        scene.row(
            "source ranges do not guard the node port",
            packet(NEIGHBOUR, protocol, NODE.ip(family), NODE_PORT),
            served(),
        ),
        scene.row(
            "source ranges do not guard the external IP",
            packet(NEIGHBOUR, protocol, outside_ip(family, EXTERNAL), PORT),
            served(),
        ),
        scene.row(
            "source ranges do not guard the cluster IP",
            packet(A2, protocol, cluster_ip(family, 10), PORT),
            reaches([A1, B1], Kept),
        ),
    ]
}

fn special(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let other = if family == Family::V4 {
        Family::V6
    } else {
        Family::V4
    };
    let to_balancer = |from: Place| packet(from, protocol, outside_ip(family, BALANCER), PORT);
    let served = || reaches([A1, B1], Masqueraded);
    let with = |ranges: &[IpNet]| guarded(family, protocol, ranges);
    let client_only = with(&[only(CLIENT.ip(family))]);
    let several = with(&[
        only(NEIGHBOUR.ip(family)),
        network(
            CLIENT.ip(family),
            if family == Family::V4 { 30 } else { 126 },
        ),
        only(CLIENT.ip(other)),
    ]);
    // A load balancer whose address the node itself holds.
    let bound = |ranges: &[IpNet]| {
        let service = web(family, protocol)
            .load_balancer(NODE_SECOND.ip(family))
            .source_ranges(ranges);
        Scene::of(service, &all_ready([A1, B1]))
    };
    let to_itself = packet(NODE_SECOND, protocol, NODE_SECOND.ip(family), PORT);
    vec![
        with(&[only(CLIENT.ip(other))]).row(
            "source ranges of the other family only leave the address open",
            to_balancer(NEIGHBOUR),
            served(),
        ),
        with(&[network(CLIENT.ip(family), 0)]).row(
            "a source range of everything leaves the address open",
            to_balancer(NEIGHBOUR),
            served(),
        ),
        with(&[network(CLIENT.ip(family), 0), only(CLIENT.ip(family))]).row(
            "a source range of everything opens the address whatever stands beside it",
            to_balancer(NEIGHBOUR),
            served(),
        ),
        several.row("the second of several source ranges counts", to_balancer(CLIENT.shifted(3)), served()),
        several.row("beyond the last address of a source range there is no answer", to_balancer(CLIENT.shifted(4)), Expect::Dropped),
        several.row("a range of one neighbour serves it", to_balancer(NEIGHBOUR), served()),
        client_only.row("a pod outside the source ranges gets no answer", to_balancer(A2), Expect::Dropped),
        client_only.row("the node outside the source ranges gets no answer", to_balancer(NODE), Expect::Dropped),
        with(&[only(NODE.ip(family))]).row("the node inside the source ranges is served", to_balancer(NODE), served()),
        with(&[only(A2.ip(family))]).row("a pod inside the source ranges is served", to_balancer(A2), served()),
        bound(&[only(NODE.ip(family))]).row(
            "an address of the node accepts itself as source where the ranges let the node in",
            to_itself.clone(),
            reaches([A1, B1], Unstated),
        ),
        bound(&[only(CLIENT.ip(family))]).row(
            "an address of the node does not accept itself as source where the ranges keep the node out",
            to_itself,
            Expect::Dropped,
        ),
        {
            let none = with(&[only(CLIENT.ip(family))]);
            let none = Scene { slices: Vec::new(), ..none };
            none.row(
                "a client inside the source ranges of a service without endpoints is refused",
                to_balancer(CLIENT),
                Expect::Rejected,
            )
        },
        {
            let none = with(&[only(CLIENT.ip(family))]);
            let none = Scene { slices: Vec::new(), ..none };
            none.row(
                "a client outside the source ranges of a service without endpoints gets no answer",
                to_balancer(NEIGHBOUR),
                Expect::Dropped,
            )
        },
    ]
}
