//! `sessionAffinity: ClientIP`, and weights.

use sluice_service_plan::model::{EndpointWeight, Family, Protocol};

use crate::lab::places::{A1, A2, A3, B1, CLIENT, CLIENT_ADDRESSES, NODE, Place, SERVED_PORTS};
use crate::packets::Row;
use crate::packets::build::{
    NODE_NAME, NODE_PORT, PORT, REMOTE_ZONE, all_ready, cluster_ip, outside_ip, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Packet, Scene, each, packet, reaches, sticks};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(affinity(family, protocol));
        rows.extend(weights(family, protocol));
    }
    rows
}

fn affinity(family: Family, protocol: Protocol) -> Vec<Row> {
    let vip = cluster_ip(family, 10);
    let service = web(family, protocol).node_port(NODE_PORT).affinity(10_800);
    let scene = Scene::of(service.clone(), &all_ready([A1, A3, B1]));
    let many: Vec<Place> = (0..CLIENT_ADDRESSES).map(|n| CLIENT.shifted(n)).collect();
    let from_many = Packet {
        from: many,
        ..packet(CLIENT, protocol, vip, PORT)
    };
    let mut rows = vec![
        scene.row(
            "with affinity a pod keeps its endpoint",
            packet(A2, protocol, vip, PORT),
            sticks([A1, A3, B1], Kept),
        ),
        scene.row(
            "with affinity a client of the node port keeps its endpoint",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            sticks([A1, A3, B1], Masqueraded),
        ),
        scene.row(
            "with affinity many clients spread",
            from_many,
            reaches([A1, A3, B1], Kept),
        ),
        Scene::of(service.clone(), &all_ready([crate::lab::places::B2])).row(
            "with affinity a client whose endpoint went gets another",
            packet(A2, protocol, vip, PORT),
            reaches([crate::lab::places::B2], Kept),
        ),
    ];
    if protocol == Protocol::Tcp {
        let local = service
            .clone()
            .external_local()
            .load_balancer(outside_ip(family, 20));
        rows.push(Scene::of(local, &all_ready([A1, A3, B1])).row(
            "with affinity and external policy Local a client keeps a local endpoint",
            packet(CLIENT, protocol, outside_ip(family, 20), PORT),
            sticks([A1, A3], Kept),
        ));
        rows.push(
            Scene::of(service.affinity(5), &all_ready([A1, A3, B1])).row(
                "a changed affinity time-out keeps affinity",
                packet(A2, protocol, vip, PORT),
                sticks([A1, A3, B1], Kept),
            ),
        );
    }
    rows
}

fn weights(family: Family, protocol: Protocol) -> Vec<Row> {
    let vip = cluster_ip(family, 10);
    let weight = |zones: &[&str], nodes: &[&str], weight| EndpointWeight {
        zones: zones.iter().map(|&zone| zone.into()).collect(),
        nodes: nodes.iter().map(|&node| node.into()).collect(),
        weight,
    };
    let scene = Scene::of(web(family, protocol), &all_ready([A1, B1]));
    let share = |a1, b1| {
        Expect::Splits(
            vec![
                ((A1.name, SERVED_PORTS[0]), a1),
                ((B1.name, SERVED_PORTS[0]), b1),
            ],
            Kept,
        )
    };
    let to_vip = || packet(A2, protocol, vip, PORT);
    let by_zone = scene
        .clone()
        .set(|settings| settings.endpoint_weights = vec![weight(&[REMOTE_ZONE], &[], 3)]);
    let mut rows = vec![
        scene.row(
            "endpoints without weights have equal shares",
            to_vip(),
            share(1, 1),
        ),
        by_zone.row(
            "a zone's weight is its endpoints' share",
            to_vip(),
            share(1, 3),
        ),
    ];
    if protocol == Protocol::Tcp {
        let first_wins = scene.set(|settings| {
            settings.endpoint_weights = vec![weight(&[], &[NODE_NAME], 4), weight(&[], &[], 1)];
        });
        rows.push(first_wins.row("the first weight that matches wins", to_vip(), share(4, 1)));
    }
    rows
}
