//! A pod that reaches itself, and endpoints in a host's own network.

use sluice_service_plan::model::{LocalDetector, Protocol};

use crate::lab::places::{A1, A2, CLIENT, NODE, POD_BRIDGE, REMOTE_NODE};
use crate::packets::Row;
use crate::packets::build::{NODE_PORT, PORT, cluster_ip, network, outside_ip, ready, web};
use crate::packets::row::Source::{Kept, Masqueraded, Unstated};
use crate::packets::row::{Scene, each, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        let (vip, balancer) = (cluster_ip(family, 10), outside_ip(family, 20));
        let bridge = || LocalDetector::BridgeInterface(POD_BRIDGE.to_owned());
        let scene = Scene::of(web(family, protocol), &[ready(A1)]);
        rows.push(scene.row(
            "a pod reaches itself by the cluster IP",
            packet(A1, protocol, vip, PORT),
            reaches([A1], Masqueraded),
        ));
        rows.push(
            scene
                .clone()
                .set(|settings| settings.detect_local = bridge())
                .row(
                    "a pod that the detector tells is masqueraded when it reaches itself",
                    packet(A1, protocol, vip, PORT),
                    reaches([A1], Masqueraded),
                ),
        );
        let nowhere = Scene::of(web(family, protocol), &[ready(A1).nowhere()]);
        rows.push(nowhere.facts(|node| node.pod_cidrs.clear()).row(
            "a pod whose node nobody tells reaches itself",
            packet(A1, protocol, vip, PORT),
            reaches([A1], Masqueraded),
        ));
        let exposed = web(family, protocol)
            .node_port(NODE_PORT)
            .load_balancer(balancer);
        rows.push(Scene::of(exposed.clone(), &[ready(A1)]).row(
            "a pod reaches itself by its node's node port",
            packet(A1, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1], Masqueraded),
        ));
        if protocol == Protocol::Tcp {
            rows.push(
                Scene::of(exposed.clone().external_local(), &[ready(A1)]).row(
                    "a pod reaches itself by a load balancer IP under external policy Local",
                    packet(A1, protocol, balancer, PORT),
                    reaches([A1], Masqueraded),
                ),
            );
            let excluded = scene.clone().set(|settings| {
                settings.exclude_destinations = vec![network(A1.ip(family), 24)];
            });
            rows.push(excluded.row(
                "a pod that reaches itself is masqueraded even where its network is excluded",
                packet(A1, protocol, vip, PORT),
                reaches([A1], Masqueraded),
            ));
        }
        rows.extend(host_network(family, protocol));
    }
    rows
}

fn host_network(family: sluice_service_plan::model::Family, protocol: Protocol) -> Vec<Row> {
    let vip = cluster_ip(family, 10);
    let here = Scene::of(web(family, protocol).node_port(NODE_PORT), &[ready(NODE)]);
    let there = Scene::of(
        web(family, protocol).node_port(NODE_PORT),
        &[ready(REMOTE_NODE)],
    );
    vec![
        here.row(
            "the node reaches its own host-network endpoint",
            packet(NODE, protocol, vip, PORT),
            reaches([NODE], Unstated),
        ),
        here.row(
            "a client outside reaches a host-network endpoint by the node port",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([NODE], Unstated),
        ),
        here.row(
            "a pod reaches a host-network endpoint of its node",
            packet(A2, protocol, vip, PORT),
            reaches([NODE], Kept),
        ),
        there.row(
            "a client outside reaches another node's host-network endpoint",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([REMOTE_NODE], Masqueraded),
        ),
    ]
}
