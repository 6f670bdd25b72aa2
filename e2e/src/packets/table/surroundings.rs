//! Beside other software's rules.

use sluice_service_plan::model::{Family, LocalDetector, Protocol};

use crate::lab::places::{
    A1, A2, A3, B1, CLIENT, DAEMON_PORT, NEIGHBOUR, NODE, NODE_SECOND, POD_BRIDGE, SERVED_PORTS,
};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, all_ready, cluster_ip, only, outside_ip, service, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, Untouched, each, packet, reaches};
use crate::packets::surroundings::{HOST_PORT, Surrounding, routed_ip};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(forward_drop(family, protocol));
        rows.extend(input_drop(family, protocol));
        rows.extend(marks(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(host_port(family));
        rows.extend(host_port_on_balancer(family));
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

/// The node is where the address leads, so another program's rule for its own addresses would take what the service does not.
fn host_port_on_balancer(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let scene = |address, port, endpoints: &[EndpointBuilder]| {
        let web = service("web")
            .cluster_ip(cluster_ip(family, 10))
            .port("", protocol, port)
            .load_balancer(address)
            .source_ranges(&[only(CLIENT.ip(family))]);
        Scene::of(web, endpoints)
            .beside(Surrounding::HostPort)
            .beside(Surrounding::BalancerRoute)
    };
    let routed = routed_ip(family);
    let own = NODE_SECOND.ip(family);
    let row = |scene: &Scene, sentence: &str, from, to, expect| {
        let sentence = format!("another program's host port {sentence}");
        scene.row(&sentence, packet(from, protocol, to, HOST_PORT), expect)
    };
    vec![
        row(
            &scene(routed, PORT, &all_ready([A1])),
            "is not on a load balancer IP that leads to the node",
            CLIENT,
            routed,
            Expect::NotOurs(Untouched::Refused),
        ),
        row(
            &scene(routed, HOST_PORT, &[]),
            "does not serve a load balancer IP without endpoints",
            CLIENT,
            routed,
            Expect::Rejected,
        ),
        row(
            &scene(routed, HOST_PORT, &all_ready([A1])),
            "does not serve clients outside the source ranges",
            NEIGHBOUR,
            routed,
            Expect::Dropped,
        ),
        row(
            &scene(own, HOST_PORT, &[]),
            "does not serve a load balancer IP without endpoints that is the node's own",
            CLIENT,
            own,
            Expect::Rejected,
        ),
        row(
            &scene(own, PORT, &all_ready([A1])),
            "keeps working where a load balancer IP is the node's own",
            CLIENT,
            own,
            Expect::NotOurs(Untouched::Has(A3.name)),
        ),
    ]
}
