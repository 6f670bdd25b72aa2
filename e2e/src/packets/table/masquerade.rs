//! Who is masqueraded, and as what.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, LocalDetector, Protocol};

use crate::lab::places::{
    A1, A2, A3, B1, B2, CLIENT, NEIGHBOUR, NODE, NODE_SECOND, POD_BRIDGE, Place,
};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, all_ready, cluster_ip, cluster_pod_networks, network, node_pod_networks, only,
    outside_ip, ready, web,
};
use crate::packets::row::Source::{self, Kept, Masqueraded};
use crate::packets::row::{Scene, each, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    [detectors(), excluded(), addresses_and_ports()].concat()
}

fn detectors() -> Vec<Row> {
    let mut rows = Vec::new();
    let bridge = LocalDetector::BridgeInterface(POD_BRIDGE.to_owned());
    let prefix = LocalDetector::InterfaceNamePrefix("cni".to_owned());
    // What each detector makes of: a pod here, a pod elsewhere.
    let detectors = [
        (
            "ClusterCIDR",
            LocalDetector::Cidrs(cluster_pod_networks()),
            Kept,
            Kept,
        ),
        (
            "NodeCIDR",
            LocalDetector::Cidrs(node_pod_networks()),
            Kept,
            Masqueraded,
        ),
        ("BridgeInterface", bridge, Kept, Masqueraded),
        ("InterfaceNamePrefix", prefix, Kept, Masqueraded),
    ];
    for (family, protocol) in each() {
        let vip = cluster_ip(family, 10);
        let scene = Scene::of(web(family, protocol), &all_ready([A1, B1]));
        let local = Scene::of(web(family, protocol), &all_ready([A1, A3]));
        for (name, detector, pod_here, pod_elsewhere) in detectors.clone() {
            let detecting = |scene: &Scene| {
                let detector = detector.clone();
                scene
                    .clone()
                    .set(|settings| settings.detect_local = detector)
            };
            let mut add = |who: &str, from, source: Source, scene: &Scene, pods| {
                rows.push(detecting(scene).row(
                    &format!("detector {name}: the source of {who} is {}", word(&source)),
                    packet(from, protocol, vip, PORT),
                    reaches(pods, source),
                ));
            };
            add("a pod here", A2, pod_here, &scene, [A1, B1]);
            add("a client outside", CLIENT, Masqueraded, &scene, [A1, B1]);
            add("the node itself", NODE, Masqueraded, &scene, [A1, B1]);
            if protocol == Protocol::Tcp {
                // Pods of the other node share a namespace, which takes packets from its own addresses for forged.
                add("a pod of another node", B2, pod_elsewhere, &local, [A1, A3]);
            }
        }
        let all = scene.clone().set(|settings| settings.masquerade_all = true);
        for (who, from) in [("a pod", A2), ("a client outside", CLIENT)] {
            rows.push(all.row(
                &format!("masqueradeAll: the source of {who} is translated"),
                packet(from, protocol, vip, PORT),
                reaches([A1, B1], Masqueraded),
            ));
        }
    }
    for family in Family::ALL {
        let (vip, other) = (
            cluster_ip(family, 10),
            LocalDetector::Cidrs(other_family(family)),
        );
        let scene = Scene::of(web(family, Protocol::Tcp), &all_ready([A1]));
        rows.push(
            scene
                .clone()
                .set(|settings| settings.detect_local = other)
                .row(
                    "a detector with networks of the other family only takes everybody for outside",
                    packet(A2, Protocol::Tcp, vip, PORT),
                    reaches([A1], Masqueraded),
                ),
        );
        let other_bit = scene.set(|settings| {
            settings.mark_bit = 20;
            settings.masquerade_all = true;
        });
        rows.push(other_bit.row(
            "another mark bit masquerades as well",
            packet(A2, Protocol::Tcp, vip, PORT),
            reaches([A1], Masqueraded),
        ));
    }
    rows
}

fn other_family(family: Family) -> Vec<ipnet::IpNet> {
    cluster_pod_networks()
        .into_iter()
        .filter(|net| Family::of_net(net) != family)
        .collect()
}

fn word(source: &Source) -> &'static str {
    if *source == Kept {
        "kept"
    } else {
        "translated"
    }
}

fn excluded() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        let scene = |pod: Place| {
            Scene::of(
                web(family, protocol).node_port(NODE_PORT),
                &all_ready([pod]),
            )
            .set(|settings| {
                settings.masquerade_all = true;
                settings.exclude_destinations = Family::ALL
                    .map(|family| {
                        network(B1.ip(family), if family == Family::V4 { 24 } else { 64 })
                    })
                    .into();
            })
        };
        let node_port = |from| packet(from, protocol, NODE.ip(family), NODE_PORT);
        let vip = |from| packet(from, protocol, cluster_ip(family, 10), PORT);
        rows.push(scene(B1).row(
            "an excluded destination keeps the source of node port clients",
            node_port(CLIENT),
            reaches([B1], Kept),
        ));
        rows.push(scene(A1).row(
            "a destination that is not excluded gets the node as source",
            node_port(CLIENT),
            reaches([A1], Masqueraded),
        ));
        if protocol == Protocol::Tcp {
            rows.push(scene(B1).row(
                "an excluded destination keeps the source under masqueradeAll",
                vip(A2),
                reaches([B1], Kept),
            ));
        }
    }
    rows
}

fn addresses_and_ports() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        let scene = Scene::of(
            web(family, protocol).node_port(NODE_PORT),
            &all_ready([A1, B1]),
        );
        let to_node_port = |from| packet(from, protocol, NODE.ip(family), NODE_PORT);
        let second: IpAddr = NODE_SECOND.ip(family);
        let one = scene.clone().set(|settings| {
            settings.snat_addresses = Family::ALL
                .map(|family| only(NODE_SECOND.ip(family)))
                .into();
        });
        rows.push(one.row(
            "a chosen SNAT address is what endpoints see",
            to_node_port(CLIENT),
            reaches([A1, B1], Source::Snat(vec![second])),
        ));
        let pool = scene.clone().set(|settings| {
            settings.snat_addresses = [only(NODE.ip(family)), only(second)].into();
        });
        rows.push(pool.row(
            "a pool of SNAT addresses is what endpoints see",
            to_node_port(CLIENT),
            reaches([A1, B1], Source::Snat(vec![NODE.ip(family), second])),
        ));
        let ports = scene
            .clone()
            .set(|settings| settings.snat_ports = Some((20_000, 20_999)));
        rows.push(ports.row(
            "masqueraded connections use the given source ports",
            to_node_port(CLIENT),
            reaches([A1, B1], Source::MasqueradedPorts(20_000..=20_999)),
        ));
        if protocol == Protocol::Tcp {
            let not_held = scene.clone().set(|settings| {
                settings.snat_addresses = vec![only(outside_ip(family, 99))];
            });
            rows.push(not_held.row(
                "where the node holds no SNAT address of the policy it masquerades",
                to_node_port(CLIENT),
                reaches([A1, B1], Masqueraded),
            ));
            let other = scene.clone().set(|settings| {
                settings.snat_addresses = Family::ALL
                    .into_iter()
                    .filter(|other| *other != family)
                    .map(|other| only(NODE_SECOND.ip(other)))
                    .collect();
            });
            rows.push(other.row(
                "a SNAT address of the other family leaves this one masqueraded",
                to_node_port(NEIGHBOUR),
                reaches([A1, B1], Masqueraded),
            ));
            let orderly = scene.set(|settings| settings.random_fully = false);
            rows.push(orderly.row(
                "source ports that are not random masquerade as well",
                to_node_port(CLIENT),
                reaches([A1, B1], Masqueraded),
            ));
            let hairpin = Scene::of(web(family, protocol), &[ready(A3)]).set(|settings| {
                settings.snat_addresses = vec![only(second)];
            });
            rows.push(hairpin.row(
                "hairpin traffic has the chosen SNAT address too",
                packet(A3, protocol, cluster_ip(family, 10), PORT),
                reaches([A3], Source::Snat(vec![second])),
            ));
        }
    }
    rows
}
