//! Two services that want the same frontend.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, Protocol};

use crate::lab::places::{A1, A2, B1, CLIENT, NEIGHBOUR, NODE, NODE_SECOND};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, ServiceBuilder, cluster_ip, only, outside_ip, ready, service,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    Family::ALL
        .into_iter()
        .flat_map(|family| [of_family(family), on_the_node(family)].concat())
        .collect()
}

fn of_family(family: Family) -> Vec<Row> {
    let shared = outside_ip(family, 30);
    let named = |name: &str, host: u8| -> ServiceBuilder {
        service(name)
            .cluster_ip(cluster_ip(family, host))
            .port("", Protocol::Tcp, PORT)
            .external_ip(shared)
    };
    let two = |first: ServiceBuilder, second: ServiceBuilder| {
        Scene::empty()
            .with(first, &[ready(A1)])
            .with(second, &[ready(B1)])
    };
    let to = |ip: IpAddr, port| packet(CLIENT, Protocol::Tcp, ip, port);
    let older_second = two(
        named("alpha", 11).created(2000),
        named("beta", 12).created(1000),
    );
    let same_age = two(named("alpha", 11), named("beta", 12));
    let alone = Scene::empty().with(named("alpha", 11).created(2000), &[ready(A1)]);
    let node_ports = two(
        named("alpha", 11).created(2000).node_port(NODE_PORT),
        named("beta", 12).created(1000).node_port(NODE_PORT),
    );
    let other_protocol = two(
        named("alpha", 11).created(2000),
        service("beta")
            .cluster_ip(cluster_ip(family, 12))
            .port("", Protocol::Udp, PORT)
            .external_ip(shared),
    );
    vec![
        older_second.row(
            "of two services that want one external IP the older has it",
            to(shared, PORT),
            reaches([B1], Masqueraded),
        ),
        older_second.row(
            "the younger keeps its other frontends",
            packet(A2, Protocol::Tcp, cluster_ip(family, 11), PORT),
            reaches([A1], Kept),
        ),
        alone.row(
            "when the older one goes the younger inherits the external IP",
            to(shared, PORT),
            reaches([A1], Masqueraded),
        ),
        same_age.row(
            "of two services of one age the first by name has the external IP",
            to(shared, PORT),
            reaches([A1], Masqueraded),
        ),
        node_ports.row(
            "of two services that want one node port the older has it",
            to(NODE.ip(family), NODE_PORT),
            reaches([B1], Masqueraded),
        ),
        other_protocol.row(
            "two services share one external IP and port by protocol",
            to(shared, PORT),
            reaches([A1], Masqueraded),
        ),
    ]
}

/// A load balancer whose address is the node's own, at a port that is another's node port.
fn on_the_node(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let balancer = service("balancer")
        .cluster_ip(cluster_ip(family, 11))
        .port("", protocol, NODE_PORT)
        .load_balancer(NODE.ip(family));
    let other = service("other")
        .cluster_ip(cluster_ip(family, 12))
        .port("", protocol, PORT)
        .node_port(NODE_PORT);
    let scene = |balancer: ServiceBuilder, endpoints: &[EndpointBuilder]| {
        Scene::empty()
            .with(balancer, endpoints)
            .with(other.clone(), &[ready(A2)])
    };
    let without = scene(balancer.clone(), &[]);
    let elsewhere = scene(balancer.clone().external_local(), &[ready(B1)]);
    let ranges = [only(CLIENT.ip(family))];
    let guarded = scene(balancer.source_ranges(&ranges), &[ready(A1)]);
    let row = |scene: &Scene, sentence: &str, from, to, expect| {
        scene.row(sentence, packet(from, protocol, to, NODE_PORT), expect)
    };
    let node = NODE.ip(family);
    vec![
        row(
            &without,
            "a load balancer IP without endpoints is not another's node port",
            CLIENT,
            node,
            Expect::Rejected,
        ),
        row(
            &without,
            "a load balancer IP without endpoints is not another's node port for the node itself",
            NODE,
            node,
            Expect::Rejected,
        ),
        row(
            &without,
            "beside a load balancer IP without endpoints the node port is on the other addresses",
            CLIENT,
            NODE_SECOND.ip(family),
            reaches([A2], Masqueraded),
        ),
        row(
            &elsewhere,
            "a load balancer IP without local endpoints is not another's node port",
            CLIENT,
            node,
            Expect::Dropped,
        ),
        row(
            &guarded,
            "a client outside the source ranges finds no other's node port",
            NEIGHBOUR,
            node,
            Expect::Dropped,
        ),
        row(
            &guarded,
            "a client inside the source ranges finds the load balancer before another's node port",
            CLIENT,
            node,
            reaches([A1], Masqueraded),
        ),
    ]
}
