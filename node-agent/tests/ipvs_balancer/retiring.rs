//! Another balancer takes the new connections.

use sluice_agent::balancer::Balancer;
use sluice_service_plan::model::Protocol;

use crate::world::{World, service, slice, tcp, udp, weights};

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
