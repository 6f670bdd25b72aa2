//! `internalTrafficPolicy: Local` and `externalTrafficPolicy: Local`.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, LocalDetector, Protocol};

use crate::lab::places::{A1, A2, A3, B1, B2, CLIENT, NEIGHBOUR, NODE, POD_BRIDGE, Place};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, ServiceBuilder, cluster_ip, draining, ending, outside_ip,
    ready, unready, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, each, packet, reaches};

const EXTERNAL: u8 = 10;
const BALANCER: u8 = 20;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(internal(family, protocol));
        rows.extend(external(family, protocol));
        rows.extend(external_without_local(family, protocol));
    }
    rows
}

fn internal(family: Family, protocol: Protocol) -> Vec<Row> {
    let service = web(family, protocol).internal_local();
    let vip = cluster_ip(family, 10);
    let scene = |endpoints: &[EndpointBuilder]| Scene::of(service.clone(), endpoints);
    let to_vip = |from| packet(from, protocol, vip, PORT);
    let both = scene(&[ready(A1), ready(B1)]);
    let remote = scene(&[ready(B1), ready(B2)]);
    let mut rows = vec![
        both.row(
            "internal policy Local keeps a pod on its node",
            to_vip(A2),
            reaches([A1], Kept),
        ),
        remote.row(
            "internal policy Local drops where only other nodes have endpoints",
            to_vip(A2),
            Expect::Dropped,
        ),
        scene(&[unready(A1), unready(B1)]).row(
            "internal policy Local refuses where nobody has endpoints",
            to_vip(A2),
            Expect::Rejected,
        ),
    ];
    if protocol != Protocol::Sctp {
        rows.push(both.row(
            "internal policy Local keeps the node on itself",
            to_vip(NODE),
            reaches([A1], Kept),
        ));
        rows.push(both.row(
            "internal policy Local holds for clients outside",
            to_vip(CLIENT),
            reaches([A1], Kept),
        ));
        rows.push(remote.row(
            "internal policy Local drops the node's own packets too",
            to_vip(NODE),
            Expect::Dropped,
        ));
        rows.push(scene(&[draining(A1), ready(B1)]).row(
            "a local endpoint that terminates is used where it is the last one here",
            to_vip(A2),
            reaches([A1], Kept),
        ));
        rows.push(scene(&[ready(A1).nowhere(), ready(A3), ready(B1)]).row(
            "an endpoint that names no node is not local",
            to_vip(A2),
            reaches([A3], Kept),
        ));
        rows.push(scene(&[ending(A1), ready(B1)]).row(
            "a local endpoint that serves no more does not count",
            to_vip(A2),
            Expect::Dropped,
        ));
        let node_port = Scene::of(
            service.clone().node_port(NODE_PORT),
            &[ready(A1), ready(B1)],
        );
        rows.push(node_port.row(
            "internal policy Local says nothing of node ports",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1, B1], Masqueraded),
        ));
    }
    rows
}

fn exposed(family: Family, protocol: Protocol) -> ServiceBuilder {
    web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(family, EXTERNAL))
        .load_balancer(outside_ip(family, BALANCER))
        .external_local()
}

/// The three frontends that `externalTrafficPolicy` speaks of.
fn doors(family: Family) -> [(&'static str, IpAddr, u16); 3] {
    [
        ("node port", NODE.ip(family), NODE_PORT),
        ("external IP", outside_ip(family, EXTERNAL), PORT),
        ("load balancer IP", outside_ip(family, BALANCER), PORT),
    ]
}

fn on_bridge(scene: Scene) -> Scene {
    scene.set(|settings| {
        settings.detect_local = LocalDetector::BridgeInterface(POD_BRIDGE.to_owned());
    })
}

fn external(family: Family, protocol: Protocol) -> Vec<Row> {
    let mut rows = Vec::new();
    let scene = Scene::of(exposed(family, protocol), &[ready(A1), ready(B1)]);
    let detecting = on_bridge(scene.clone());
    for (door, to, port) in doors(family) {
        let from = |from: Place| packet(from, protocol, to, port);
        rows.push(scene.row(
            &format!("external policy Local: a client of the {door} reaches this node's endpoints as itself"),
            from(CLIENT),
            reaches([A1], Kept),
        ));
        rows.push(scene.row(
            &format!("external policy Local: the node reaches all by the {door}"),
            from(NODE),
            reaches([A1, B1], Masqueraded),
        ));
        rows.push(detecting.row(
            &format!(
                "external policy Local: a pod that is told reaches all by the {door} as itself"
            ),
            from(A2),
            reaches([A1, B1], Kept),
        ));
        if protocol == Protocol::Tcp {
            rows.push(scene.row(
                &format!("external policy Local: without detector a pod of the {door} is a client outside"),
                from(A2),
                reaches([A1], Kept),
            ));
            rows.push(detecting.row(
                &format!(
                    "external policy Local: a detector changes nothing for clients of the {door}"
                ),
                from(NEIGHBOUR),
                reaches([A1], Kept),
            ));
        }
    }
    if protocol != Protocol::Udp {
        rows.push(scene.row(
            "external policy Local says nothing of the cluster IP",
            packet(CLIENT, protocol, cluster_ip(family, 10), PORT),
            reaches([A1, B1], Kept),
        ));
        let draining_here = Scene::of(exposed(family, protocol), &[draining(A1), ready(B1)]);
        rows.push(draining_here.row(
            "external policy Local uses a local endpoint that terminates where it is the last one here",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1], Kept),
        ));
    }
    rows
}

fn external_without_local(family: Family, protocol: Protocol) -> Vec<Row> {
    let mut rows = Vec::new();
    let elsewhere = Scene::of(exposed(family, protocol), &[ready(B1), ready(B2)]);
    let nobody = Scene::of(exposed(family, protocol), &[unready(A1)]);
    let detecting = on_bridge(elsewhere.clone());
    for (door, to, port) in doors(family) {
        let from = |from: Place| packet(from, protocol, to, port);
        rows.push(elsewhere.row(
            &format!("external policy Local drops a client of the {door} where only other nodes have endpoints"),
            from(CLIENT),
            Expect::Dropped,
        ));
        rows.push(nobody.row(
            &format!(
                "external policy Local refuses a client of the {door} where nobody has endpoints"
            ),
            from(CLIENT),
            Expect::Rejected,
        ));
        if protocol == Protocol::Tcp {
            rows.push(elsewhere.row(
                &format!(
                    "external policy Local: the node reaches other nodes' endpoints by the {door}"
                ),
                from(NODE),
                reaches([B1, B2], Masqueraded),
            ));
            rows.push(detecting.row(
                &format!(
                    "external policy Local: a pod reaches other nodes' endpoints by the {door}"
                ),
                from(A2),
                reaches([B1, B2], Kept),
            ));
        }
    }
    rows
}
