//! Real servers that leave.

use sluice_agent::balancer::Balancer;
use sluice_service_plan::model::Protocol;

use crate::world::{World, name, service, slice, tcp, udp, weights};

fn world(protocol: Protocol, endpoints: &[&str]) -> World {
    let mut world = World::new();
    world
        .catalog
        .set_service(service("web", "10.96.0.1", protocol));
    world.catalog.set_slice(slice("web", protocol, endpoints));
    world.sync();
    world
}

#[test]
fn a_tcp_endpoint_keeps_its_connections_until_the_last_one_ends() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]);
    let vip = tcp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.2"]));
    world.sync();
    let quiet = weights(&[("10.1.0.1", 0), ("10.1.0.2", 1)]);
    assert_eq!(world.kernel.weights(vip), quiet);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert_eq!(world.drain_after(5).waiting, 1);
    assert_eq!(world.kernel.weights(vip), quiet);
    world.kernel.set_active(vip, "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(5).waiting, 0);
    assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.2", 1)]));
}

#[test]
fn the_grace_time_ends_what_does_not_end_by_itself() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]);
    let vip = tcp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.2"]));
    world.sync();
    assert_eq!(world.drain_after(5).waiting, 1);
    assert_eq!(world.drain_after(899).waiting, 1);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.2", 1)]));
}

#[test]
fn an_endpoint_that_comes_back_gets_its_weight_back() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]);
    let vip = tcp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    for endpoints in [&["10.1.0.2"][..], &["10.1.0.1", "10.1.0.2"]] {
        world
            .catalog
            .set_slice(slice("web", Protocol::Tcp, endpoints));
        world.sync();
    }
    let both = weights(&[("10.1.0.1", 1), ("10.1.0.2", 1)]);
    assert_eq!(world.kernel.weights(vip), both);
    assert_eq!(world.drain_after(10_000).waiting, 0);
    assert_eq!(world.kernel.weights(vip), both);
}

#[test]
fn a_udp_endpoint_goes_at_once() {
    let mut world = world(Protocol::Udp, &["10.1.0.1", "10.1.0.2"]);
    let vip = udp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world
        .catalog
        .set_slice(slice("web", Protocol::Udp, &["10.1.0.2"]));
    world.sync();
    assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.2", 1)]));
    world.catalog.remove_service(&name("web"));
    world.sync();
    assert_eq!(world.kernel.weights(vip), None);
    assert!(world.kernel.routed().is_empty());
}

#[test]
fn a_deleted_service_serves_its_connections_to_the_end() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1"]);
    let vip = tcp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world.catalog.remove_service(&name("web"));
    world.sync();
    assert_eq!(world.drain_after(5).waiting, 1);
    assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.1", 0)]));
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    world.kernel.set_active(vip, "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(5).waiting, 0);
    assert_eq!(world.kernel.weights(vip), None);
    assert!(world.kernel.routed().is_empty());
    assert!(world.kernel.state().sets.values().all(Vec::is_empty));
}

#[test]
fn a_service_that_comes_back_while_it_drains_is_whole_again() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1"]);
    let before = world.kernel.state();
    world.catalog.remove_service(&name("web"));
    world.sync();
    let mut again = service("web", "10.96.0.1", Protocol::Tcp);
    again.affinity_seconds = Some(10);
    world.catalog.set_service(again);
    world.sync();
    world
        .catalog
        .set_service(service("web", "10.96.0.1", Protocol::Tcp));
    world.sync();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.drain_after(5).waiting, 0);
    assert_eq!(world.kernel.state(), before);
}

#[test]
fn a_restart_goes_on_where_the_last_agent_ended() {
    let mut world = world(Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]);
    let vip = tcp("10.96.0.1", 80);
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.2"]));
    world.sync();
    // Nobody tells it that the endpoint is back until the restart.
    let report = world.restart();
    assert!(report.is_noop(), "{report:?}");
    assert_eq!(world.drain_after(5).waiting, 1);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]));
    world.restart();
    let both = weights(&[("10.1.0.1", 1), ("10.1.0.2", 1)]);
    assert_eq!(world.kernel.weights(vip), both);
}

#[test]
fn one_endpoint_change_costs_the_same_in_any_cluster() {
    let cost_among = |services: u8| {
        let mut world = World::new();
        for n in 0..services {
            let name = format!("s{n}");
            let ip = format!("10.96.1.{n}");
            world
                .catalog
                .set_service(service(&name, &ip, Protocol::Tcp));
            world
                .catalog
                .set_slice(slice(&name, Protocol::Tcp, &["10.1.0.1"]));
        }
        world.sync();
        world.kernel.ipvs.forget_changes();
        world.kernel.sets.forget_operations();
        let messages = world.messages();
        world
            .catalog
            .set_slice(slice("s0", Protocol::Tcp, &["10.1.0.3"]));
        world.sync();
        assert_eq!(world.kernel.ipvs.changes().len(), 2);
        assert_eq!(world.kernel.sets.operations(), vec![]);
        world.messages() - messages
    };
    assert_eq!(cost_among(1), 2);
    assert_eq!(cost_among(200), 2);
}
