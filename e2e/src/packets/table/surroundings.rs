//! Beside other software's rules.

use sluice_service_plan::model::{Family, LocalDetector, Protocol};

use crate::lab::places::{A1, A2, A3, B1, CLIENT, DAEMON_PORT, NODE, POD_BRIDGE, SERVED_PORTS};
use crate::packets::Row;
use crate::packets::build::{NODE_PORT, PORT, all_ready, cluster_ip, outside_ip, web};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, Untouched, each, packet, reaches};
use crate::packets::surroundings::{HOST_PORT, Surrounding};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(forward_drop(family, protocol));
        rows.extend(input_drop(family, protocol));
        rows.extend(marks(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(host_port(family));
    }
    rows
}

fn forward_drop(family: Family, protocol: Protocol) -> Vec<Row> {
    let vip = cluster_ip(family, 10);
    let service = web(family, protocol).node_port(NODE_PORT);
    let scene = Scene::of(service.clone(), &all_ready([A1, B1])).beside(Surrounding::ForwardDrop);
    let local =
        Scene::of(service.external_local(), &all_ready([A1])).beside(Surrounding::ForwardDrop);
    vec![
        scene.row(
            "under FORWARD policy DROP a node port works",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1, B1], Masqueraded),
        ),
        scene.row(
            "under FORWARD policy DROP a pod uses a cluster IP",
            packet(A2, protocol, vip, PORT),
            reaches([A1, B1], Kept),
        ),
        local.row(
            "under FORWARD policy DROP external policy Local works",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1], Kept),
        ),
        scene.row(
            "under FORWARD policy DROP what is not ours stays dropped",
            packet(CLIENT, protocol, A1.ip(family), SERVED_PORTS[0]),
            Expect::NotOurs(Untouched::Filtered),
        ),
    ]
}

fn input_drop(family: Family, protocol: Protocol) -> Vec<Row> {
    let (vip, external) = (cluster_ip(family, 10), outside_ip(family, 10));
    let service = web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(external);
    let scene = Scene::of(service, &all_ready([A1, B1])).beside(Surrounding::InputDrop);
    let row = |sentence, from, to, port, expect| {
        let sentence = format!("under INPUT policy DROP {sentence}");
        scene.row(&sentence, packet(from, protocol, to, port), expect)
    };
    let translated = || reaches([A1, B1], Masqueraded);
    let node = NODE.ip(family);
    let mut rows = vec![
        row("a node port works", CLIENT, node, NODE_PORT, translated()),
        row("an external IP works", CLIENT, external, PORT, translated()),
        row(
            "a pod uses a cluster IP",
            A2,
            vip,
            PORT,
            reaches([A1, B1], Kept),
        ),
    ];
    if protocol == Protocol::Tcp {
        rows.push(row(
            "the node's daemons stay shut",
            CLIENT,
            node,
            DAEMON_PORT,
            Expect::NotOurs(Untouched::Filtered),
        ));
    }
    rows
}

fn marks(family: Family, protocol: Protocol) -> Vec<Row> {
    let service = web(family, protocol).node_port(NODE_PORT);
    let scene = Scene::of(service, &all_ready([A1, B1]))
        .set(|settings| {
            settings.detect_local = LocalDetector::BridgeInterface(POD_BRIDGE.to_owned());
        })
        .beside(Surrounding::MarksVanish);
    vec![
        scene.row(
            "no mark is left on a masqueraded packet",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1, B1], Masqueraded),
        ),
        scene.row(
            "no mark is left on a packet that keeps its source",
            packet(A2, protocol, cluster_ip(family, 10), PORT),
            reaches([A1, B1], Kept),
        ),
    ]
}

fn host_port(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let service = web(family, protocol).external_ip(outside_ip(family, 10));
    let scene = Scene::of(service, &all_ready([A1])).beside(Surrounding::HostPort);
    vec![
        scene.row(
            "another program's host port keeps working",
            packet(CLIENT, protocol, NODE.ip(family), HOST_PORT),
            Expect::NotOurs(Untouched::Has(A3.name)),
        ),
        scene.row(
            "another program's host port does not capture a cluster IP",
            packet(CLIENT, protocol, cluster_ip(family, 10), HOST_PORT),
            Expect::Rejected,
        ),
        scene.row(
            "beside another program's host port a cluster IP works",
            packet(A2, protocol, cluster_ip(family, 10), PORT),
            reaches([A1], Kept),
        ),
    ]
}
