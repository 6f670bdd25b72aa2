//! Services without endpoints, and ports that no service lists.

use sluice_service_plan::model::{Family, Protocol};

use crate::lab::places::{
    A1, A2, B2, CLIENT, DAEMON_NAME, DAEMON_PORT, NEIGHBOUR, NODE, NODE_SECOND, Place,
};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, ServiceBuilder, all_ready, cluster_ip, only, outside_ip,
    service, unready, web,
};
use crate::packets::row::Source::Masqueraded;
use crate::packets::row::{Expect, Scene, Untouched, each, packet, reaches};
use crate::packets::surroundings::{Surrounding, routed_ip};

const EXTERNAL: u8 = 10;
const BALANCER: u8 = 20;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(without_endpoints(family, protocol));
        rows.extend(unlisted(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(own_addresses(family));
        rows.extend(health_port(family));
        rows.extend(health_check_port(family));
    }
    rows
}

fn without_endpoints(family: Family, protocol: Protocol) -> Vec<Row> {
    let service = web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(family, EXTERNAL))
        .load_balancer(outside_ip(family, BALANCER));
    let none = Scene::of(service.clone(), &[]);
    let unready = Scene::of(service, &[unready(A1)]);
    let vip = cluster_ip(family, 10);
    let mut rows = Vec::new();
    let mut add = |scene: &Scene, sentence: &str, from: Place, to, port| {
        rows.push(scene.row(sentence, packet(from, protocol, to, port), Expect::Rejected));
    };
    add(
        &none,
        "a cluster IP without endpoints refuses a pod",
        A2,
        vip,
        PORT,
    );
    add(
        &none,
        "a cluster IP without endpoints refuses the node",
        NODE,
        vip,
        PORT,
    );
    add(
        &none,
        "a cluster IP without endpoints refuses a client outside",
        CLIENT,
        vip,
        PORT,
    );
    add(
        &none,
        "a node port without endpoints refuses",
        CLIENT,
        NODE.ip(family),
        NODE_PORT,
    );
    add(
        &none,
        "an external IP without endpoints refuses",
        CLIENT,
        outside_ip(family, EXTERNAL),
        PORT,
    );
    add(
        &unready,
        "a load balancer IP whose endpoints are not ready refuses",
        CLIENT,
        outside_ip(family, BALANCER),
        PORT,
    );
    add(
        &unready,
        "a node port without endpoints refuses the node itself",
        NODE,
        NODE.ip(family),
        NODE_PORT,
    );
    if protocol == Protocol::Tcp {
        add(
            &unready,
            "a cluster IP refuses a pod of another node",
            B2,
            vip,
            PORT,
        );
        add(
            &unready,
            "an external IP without endpoints refuses the node",
            NODE,
            outside_ip(family, EXTERNAL),
            PORT,
        );
        add(
            &unready,
            "a load balancer IP without endpoints refuses a pod",
            A2,
            outside_ip(family, BALANCER),
            PORT,
        );
    }
    rows
}

fn unlisted(family: Family, protocol: Protocol) -> Vec<Row> {
    let scene = Scene::of(
        web(family, protocol).external_ip(outside_ip(family, EXTERNAL)),
        &all_ready([A1]),
    );
    let to_vip = |from| packet(from, protocol, cluster_ip(family, 10), PORT + 1);
    vec![
        scene.row(
            "an unlisted port of a cluster IP refuses a pod",
            to_vip(A2),
            Expect::Rejected,
        ),
        scene.row(
            "an unlisted port of a cluster IP refuses the node",
            to_vip(NODE),
            Expect::Rejected,
        ),
        scene.row(
            "an unlisted port of a cluster IP refuses a client outside",
            to_vip(CLIENT),
            Expect::Rejected,
        ),
        scene.row(
            "an unlisted port of an external IP is nobody's business",
            packet(CLIENT, protocol, outside_ip(family, EXTERNAL), PORT + 1),
            Expect::NotOurs(Untouched::Routed),
        ),
    ]
}

/// The node's own daemons.
fn own_addresses(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let on_own_address = Scene::of(
        web(family, protocol).external_ip(NODE_SECOND.ip(family)),
        &all_ready([A1]),
    );
    let daemon = || Expect::NotOurs(Untouched::Has(DAEMON_NAME));
    vec![
        on_own_address.row(
            "an external IP that is the node's own serves the service",
            packet(CLIENT, protocol, NODE_SECOND.ip(family), PORT),
            reaches([A1], Masqueraded),
        ),
        on_own_address.row(
            "an external IP that is the node's own keeps the node's daemons reachable",
            packet(CLIENT, protocol, NODE_SECOND.ip(family), DAEMON_PORT),
            daemon(),
        ),
        on_own_address.row(
            "the node's daemons are reached as ever",
            packet(A2, protocol, NODE.ip(family), DAEMON_PORT),
            daemon(),
        ),
        on_own_address.row(
            "no daemon of the node answers on a cluster IP",
            packet(CLIENT, protocol, cluster_ip(family, 10), DAEMON_PORT),
            Expect::Rejected,
        ),
        on_own_address.row(
            "not even for the node itself does a daemon answer on a cluster IP",
            packet(NODE, protocol, cluster_ip(family, 10), DAEMON_PORT),
            Expect::Rejected,
        ),
    ]
}

/// A load balancer that keeps the packets' destination asks on its own address for the node's health.
fn health_port(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let (routed, vip) = (routed_ip(family), cluster_ip(family, 10));
    let at_port = |port| service("web").cluster_ip(vip).port("", protocol, port);
    let scene = |service: ServiceBuilder, endpoints: &[EndpointBuilder], port| {
        Scene::of(service.load_balancer(routed), endpoints)
            .facts(|node| node.health_port = Some(port))
            .beside(Surrounding::BalancerRoute)
    };
    let healthy = scene(at_port(PORT), &all_ready([A1]), DAEMON_PORT);
    let elsewhere = scene(at_port(PORT), &all_ready([A1]), DAEMON_PORT + 1);
    let its_own = scene(at_port(DAEMON_PORT), &all_ready([A1]), DAEMON_PORT);
    let without = scene(at_port(DAEMON_PORT), &[], DAEMON_PORT);
    let daemon = || Expect::NotOurs(Untouched::Has(DAEMON_NAME));
    let row = |scene: &Scene, sentence: &str, to, expect| {
        scene.row(sentence, packet(CLIENT, protocol, to, DAEMON_PORT), expect)
    };
    vec![
        row(
            &healthy,
            "the node's health is told on a load balancer IP that leads to the node",
            routed,
            daemon(),
        ),
        row(
            &healthy.clone().beside(Surrounding::InputDrop),
            "under INPUT policy DROP the node's health is told on a load balancer IP",
            routed,
            daemon(),
        ),
        row(
            &healthy,
            "the node's health is not told on a cluster IP",
            vip,
            Expect::Rejected,
        ),
        row(
            &elsewhere,
            "no other daemon answers on a load balancer IP that leads to the node",
            routed,
            Expect::NotOurs(Untouched::Refused),
        ),
        row(
            &its_own,
            "a service has the port of the node's health on its load balancer IP",
            routed,
            reaches([A1], Masqueraded),
        ),
        row(
            &without,
            "a service without endpoints has the port of the node's health on its load balancer IP",
            routed,
            Expect::Rejected,
        ),
    ]
}

/// The port of a service's health checks is the node's, not that of any service address.
fn health_check_port(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let checked = service("checked")
        .cluster_ip(cluster_ip(family, 20))
        .port("", protocol, PORT)
        .load_balancer(outside_ip(family, BALANCER))
        .external_local()
        .health_check_port(DAEMON_PORT);
    // A load balancer at an address that leads to the node.
    let beside = |port, endpoints: &[EndpointBuilder]| {
        let web = service("web")
            .cluster_ip(cluster_ip(family, 10))
            .port("", protocol, port)
            .load_balancer(routed_ip(family))
            .source_ranges(&[only(CLIENT.ip(family))]);
        Scene::of(web, endpoints)
            .with(checked.clone(), &all_ready([A2]))
            .beside(Surrounding::BalancerRoute)
    };
    let its_own = beside(DAEMON_PORT, &all_ready([A1]));
    let row = |scene: &Scene, sentence: &str, from, to, expect| {
        scene.row(sentence, packet(from, protocol, to, DAEMON_PORT), expect)
    };
    vec![
        row(
            &its_own,
            "a port of health checks is not open on the cluster IP of its service",
            CLIENT,
            cluster_ip(family, 20),
            Expect::Rejected,
        ),
        row(
            &its_own,
            "a service whose port is another's port of health checks keeps its source ranges",
            NEIGHBOUR,
            routed_ip(family),
            Expect::Dropped,
        ),
        row(
            &its_own,
            "a service whose port is another's port of health checks serves",
            CLIENT,
            routed_ip(family),
            reaches([A1], Masqueraded),
        ),
        row(
            &beside(DAEMON_PORT, &[]),
            "a service without endpoints refuses on another's port of health checks",
            CLIENT,
            routed_ip(family),
            Expect::Rejected,
        ),
        row(
            &beside(PORT, &all_ready([A1])),
            "a port of health checks is open on a load balancer IP that leads to the node",
            CLIENT,
            routed_ip(family),
            Expect::NotOurs(Untouched::Has(DAEMON_NAME)),
        ),
    ]
}
