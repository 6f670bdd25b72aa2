//! Another balancer takes the new connections.

use std::sync::Arc;

use sluice_agent::balancer::Balancer;
use sluice_service_plan::model::{Protocol, ServicePort, SlicePort, TrafficPolicy};

use crate::world::{World, name, on_nodes, service, slice, tcp, udp, weights};

fn world() -> World {
    let mut world = World::new();
    for (n, protocol) in [(1, Protocol::Tcp), (2, Protocol::Tcp), (3, Protocol::Udp)] {
        let name = format!("s{n}");
        world
            .catalog
            .set_service(service(&name, &format!("10.96.0.{n}"), protocol));
        world
            .catalog
            .set_slice(slice(&name, protocol, &["10.1.0.1"]));
    }
    world.sync();
    world
        .kernel
        .set_active(tcp("10.96.0.1", 80), "10.1.0.1:8080", 1);
    world
}

#[test]
fn what_has_connections_stays_and_flows_without_end_go_with_the_removal() {
    let mut world = world();
    assert!(world.balancer.deactivate().unwrap().is_noop());
    assert_eq!(world.drain_after(1).waiting, 1);
    assert_eq!(world.kernel.routed(), ["10.96.0.1", "10.96.0.3"]);
    assert!(world.kernel.weights(tcp("10.96.0.2", 80)).is_none());
    assert_eq!(world.drain_after(10_000).waiting, 1);
    world
        .kernel
        .set_active(tcp("10.96.0.1", 80), "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert_eq!(world.kernel.routed(), ["10.96.0.3"]);
    assert!(world.balancer.remove().is_empty());
    let state = world.kernel.state();
    assert!(state.servers.is_empty() && state.routes.is_empty() && state.sets.is_empty());
}

#[test]
fn a_retired_one_follows_departures_only() {
    let mut world = world();
    world.balancer.deactivate().unwrap();
    world
        .catalog
        .set_slice(slice("s1", Protocol::Tcp, &["10.1.0.3"]));
    world
        .catalog
        .set_slice(slice("s3", Protocol::Udp, &["10.1.0.3"]));
    world
        .catalog
        .set_service(service("s4", "10.96.0.4", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("s4", Protocol::Tcp, &["10.1.0.3"]));
    world.sync();
    let vip = tcp("10.96.0.1", 80);
    assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.1", 0)]));
    assert_eq!(world.kernel.weights(udp("10.96.0.3", 80)), Some(vec![]));
    assert!(world.kernel.weights(tcp("10.96.0.4", 80)).is_none());
    assert!(!world.kernel.routed().contains(&"10.96.0.4".to_owned()));
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn one_that_is_activated_again_serves_everything() {
    let mut world = world();
    let before = world.kernel.state();
    world.balancer.deactivate().unwrap();
    world.drain_after(1);
    assert_ne!(world.kernel.state(), before);
    world.balancer.activate().unwrap();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn another_agent_ends_what_the_last_one_retired() {
    let mut world = world();
    world.balancer.deactivate().unwrap();
    world.drain_after(1);
    world.balancer = world.kernel.balancer();
    world.balancer.adopt().unwrap();
    world.balancer.deactivate().unwrap();
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    assert_eq!(world.drain_after(1).waiting, 1);
    assert_eq!(world.kernel.routed(), ["10.96.0.1", "10.96.0.3"]);
    world
        .kernel
        .set_active(tcp("10.96.0.1", 80), "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert_eq!(world.kernel.routed(), ["10.96.0.3"]);
    assert!(world.balancer.remove().is_empty());
    assert!(world.kernel.state().servers.is_empty());
    assert!(world.kernel.routed().is_empty());
}

#[test]
fn a_departure_of_what_has_gone_already_takes_no_address_from_what_is_left() {
    let mut world = World::new();
    let mut web = service("web", "10.96.0.1", Protocol::Tcp);
    let mut slice = slice("web", Protocol::Tcp, &["10.1.0.1"]);
    web.ports.push(ServicePort {
        name: Arc::from("tls"),
        port: 443,
        ..web.ports[0].clone()
    });
    slice.ports.push(SlicePort {
        name: Arc::from("tls"),
        protocol: Protocol::Tcp,
        port: 8443,
    });
    world.catalog.set_service(web);
    world.catalog.set_slice(slice);
    world.sync();
    let tls = tcp("10.96.0.1", 443);
    world.kernel.set_active(tls, "10.1.0.1:8443", 1);
    world.balancer.deactivate().unwrap();
    world.drain_after(1);
    assert!(world.kernel.weights(tcp("10.96.0.1", 80)).is_none());
    world.catalog.remove_service(&name("web"));
    world.sync();
    world.drain_after(1);
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    assert_eq!(
        world.kernel.weights(tls).unwrap(),
        [("10.1.0.1:8443".to_owned(), 0)]
    );
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    world.kernel.set_active(tls, "10.1.0.1:8443", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert!(world.kernel.routed().is_empty());
}

#[test]
fn a_departure_of_what_never_came_takes_no_address_from_what_is_left() {
    let mut world = World::new();
    let local = |named: &str, port: u16| {
        let mut service = service(named, &format!("10.96.0.{}", port - 79), Protocol::Tcp);
        service.external_ips = vec!["198.51.100.1".parse().unwrap()];
        service.ports[0].port = port;
        on_nodes(service, 30_000 + port, TrafficPolicy::Local)
    };
    world.catalog.set_service(local("web", 80));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.2"]));
    world.sync();
    let vip = tcp("198.51.100.1", 80);
    world.kernel.set_active(vip, "10.1.0.2:8080", 1);
    world.balancer.deactivate().unwrap();
    world.drain_after(1);
    let marks = world.kernel.state().sets["SLUICE-4-V-INSIDE"].clone();
    for port in 81..85 {
        world.catalog.set_service(local("late", port));
        world
            .catalog
            .set_slice(slice("late", Protocol::Tcp, &["10.1.0.1"]));
        world.sync();
        world.catalog.remove_service(&name("late"));
        world.sync();
        world.drain_after(1);
    }
    assert_eq!(world.kernel.state().sets["SLUICE-4-V-INSIDE"], marks);
    assert_eq!(world.kernel.routed(), ["198.51.100.1"]);
    assert_eq!(world.balancer.check().unwrap(), vec![]);
}
