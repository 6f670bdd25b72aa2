//! On which of the node's addresses a node port is served.

use ipnet::IpNet;
use sluice_service_plan::model::{Family, NodePortAddresses, Protocol};

use crate::lab::places::{
    A1, A2, B1, CLIENT, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_LOOPBACK, NODE_SECOND, Place,
};
use crate::packets::Row;
use crate::packets::build::{NODE_PORT, all_ready, network, only, web};
use crate::packets::row::Source::Masqueraded;
use crate::packets::row::{Expect, Scene, Untouched, each, packet, reaches};

const REFUSED_BY_NODE: Expect = Expect::NotOurs(Untouched::Refused);

fn scene(family: Family, protocol: Protocol, addresses: NodePortAddresses) -> Scene {
    Scene::of(
        web(family, protocol).node_port(NODE_PORT),
        &all_ready([A1, B1]),
    )
    .set(|settings| settings.node_port_addresses = addresses)
}

fn networks(networks: impl IntoIterator<Item = IpNet>) -> NodePortAddresses {
    NodePortAddresses::Cidrs(networks.into_iter().collect())
}

pub(super) fn rows() -> Vec<Row> {
    [selections(), localhost()].concat()
}

fn selections() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each().filter(|(_, protocol)| *protocol != Protocol::Sctp) {
        let second = networks(Family::ALL.map(|family| only(NODE_SECOND.ip(family))));
        let selected = scene(family, protocol, second);
        let at = |place: Place| packet(CLIENT, protocol, place.ip(family), NODE_PORT);
        let served = reaches([A1, B1], Masqueraded);
        rows.push(selected.row(
            "a selected address has the node port",
            at(NODE_SECOND),
            served.clone(),
        ));
        rows.push(selected.row(
            "an address that is not selected has no node port",
            at(NODE),
            REFUSED_BY_NODE,
        ));
        rows.push(selected.row(
            "the node itself finds no node port on an address that is not selected",
            packet(NODE, protocol, NODE.ip(family), NODE_PORT),
            REFUSED_BY_NODE,
        ));
        let primary = scene(family, protocol, NodePortAddresses::Primary);
        rows.push(primary.row(
            "the keyword primary selects the InternalIP",
            at(NODE),
            served.clone(),
        ));
        rows.push(primary.row(
            "the keyword primary leaves other addresses of the node alone",
            at(NODE_SECOND),
            REFUSED_BY_NODE,
        ));
        rows.push(primary.row(
            "the keyword primary leaves the bridge's address alone",
            packet(A2, protocol, NODE_BRIDGE.ip(family), NODE_PORT),
            REFUSED_BY_NODE,
        ));
        let other_family = if family == Family::V4 {
            Family::V6
        } else {
            Family::V4
        };
        let only_other = networks([network(NODE.ip(other_family), 24)]);
        rows.push(scene(family, protocol, only_other).row(
            "networks of the other family select nothing of this one",
            at(NODE),
            REFUSED_BY_NODE,
        ));
        let everything = networks([network(NODE.ip(family), 0)]);
        rows.push(scene(family, protocol, everything).row(
            "a network that holds every address selects every address",
            at(NODE_SECOND),
            served,
        ));
    }
    rows
}

fn localhost() -> Vec<Row> {
    let mut rows = Vec::new();
    for protocol in Protocol::ALL {
        let family = Family::V4;
        let loopback = NODE_LOOPBACK.ip(family);
        let on = scene(family, protocol, NodePortAddresses::All)
            .set(|settings| settings.localhost_node_ports = true);
        let itself = packet(NODE_LOOPBACK, protocol, loopback, NODE_PORT);
        let neighbour = packet(NEIGHBOUR, protocol, loopback, NODE_PORT);
        let outside = packet(CLIENT, protocol, NODE.ip(family), NODE_PORT);
        let served = reaches([A1, B1], Masqueraded);
        rows.push(on.row(
            "localhost has the node port where that is on",
            itself.clone(),
            served.clone(),
        ));
        let excluded = Family::ALL.map(|family| network(A1.ip(family), 8));
        rows.push(
            on.clone()
                .set(|settings| settings.exclude_destinations = excluded.into())
                .row(
                    "localhost has the node port also where endpoints are excluded from masquerading",
                    itself.clone(),
                    served.clone(),
                ),
        );
        rows.push(on.row(
            "a neighbour's packet for the node's loopback is dropped",
            neighbour.clone(),
            Expect::Dropped,
        ));
        rows.push(on.row(
            "the other addresses keep the node port where localhost has it",
            outside.clone(),
            served.clone(),
        ));
        let loopback_only = || networks([network(loopback, 8)]);
        let restricted = scene(family, protocol, loopback_only())
            .set(|settings| settings.localhost_node_ports = true);
        rows.push(restricted.row(
            "a node port of 127.0.0.0/8 alone serves localhost",
            itself.clone(),
            served,
        ));
        rows.push(restricted.row(
            "a node port of 127.0.0.0/8 alone is closed to a neighbour's loopback packet",
            neighbour,
            Expect::Dropped,
        ));
        if protocol != Protocol::Sctp {
            rows.push(restricted.row(
                "a node port of 127.0.0.0/8 alone is not on other addresses",
                outside,
                REFUSED_BY_NODE,
            ));
            let off = scene(family, protocol, NodePortAddresses::All);
            rows.push(off.row(
                "localhost has no node port by default",
                itself.clone(),
                REFUSED_BY_NODE,
            ));
            let nowhere = scene(family, protocol, loopback_only());
            rows.push(nowhere.row(
                "127.0.0.0/8 alone selects nothing by default",
                itself,
                REFUSED_BY_NODE,
            ));
            let v6 = scene(Family::V6, protocol, NodePortAddresses::All)
                .set(|settings| settings.localhost_node_ports = true);
            rows.push(v6.row(
                "IPv6 loopback never has node ports",
                packet(
                    NODE_LOOPBACK,
                    protocol,
                    NODE_LOOPBACK.ip(Family::V6),
                    NODE_PORT,
                ),
                REFUSED_BY_NODE,
            ));
        }
    }
    rows
}
