//! How virtual servers balance.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_agent::balancer::Balancer;
use sluice_kernel::ipvs::{Persistence, Service as IpvsService, VirtualServer};
use sluice_service_plan::model::{
    EndpointWeight, LabelSelector, Protocol, ServiceOverride, Settings,
};

use crate::world::{World, service, settings, slice, tcp, weights};

fn served(world: &World, of: VirtualServer) -> IpvsService {
    world.kernel.state().servers[&of].0.clone()
}

fn scheduled_by(scheduler: &str) -> Settings {
    let mut settings = settings();
    settings.ipvs.scheduler = Arc::from(scheduler);
    settings
}

fn put(world: &mut World) -> VirtualServer {
    world
        .catalog
        .set_service(service("web", "10.96.0.1", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1", "10.1.0.2"]));
    world.sync();
    tcp("10.96.0.1", 80)
}

#[test]
fn rr_and_lc_heed_weights_where_there_are_any() {
    for (named, weighted) in [("rr", "wrr"), ("lc", "wlc"), ("sed", "sed")] {
        let mut world = World::with(scheduled_by(named));
        let vip = put(&mut world);
        assert_eq!(served(&world, vip).scheduler, named);
        let mut settings = scheduled_by(named);
        settings.endpoint_weights = vec![EndpointWeight {
            zones: vec![],
            nodes: vec![Arc::from("here")],
            weight: 3,
        }];
        world.catalog.set_settings(settings);
        world.sync();
        assert_eq!(served(&world, vip).scheduler, weighted);
        let weighed = weights(&[("10.1.0.1", 1), ("10.1.0.2", 3)]);
        assert_eq!(world.kernel.weights(vip), weighed);
    }
}

#[test]
fn hashing_schedulers_pass_over_real_servers_that_leave() {
    for (scheduler, falls_back) in [("sh", true), ("mh", true), ("rr", false)] {
        let mut world = World::with(scheduled_by(scheduler));
        let vip = put(&mut world);
        assert_eq!(served(&world, vip).scheduler_flags.flag_1, falls_back);
    }
}

#[test]
fn a_service_that_matches_an_override_has_its_own_scheduler() {
    let mut overriding = settings();
    overriding.service_overrides = vec![ServiceOverride {
        selector: LabelSelector {
            labels: BTreeMap::from([("app".to_owned(), "cache".to_owned())]),
            ..LabelSelector::default()
        },
        namespaces: vec![],
        ipvs_scheduler: Arc::from("sh"),
    }];
    let mut world = World::with(overriding);
    let mut cache = service("cache", "10.96.0.2", Protocol::Tcp);
    cache.labels.insert("app".to_owned(), "cache".to_owned());
    world.catalog.set_service(cache);
    world
        .catalog
        .set_slice(slice("cache", Protocol::Tcp, &["10.1.0.1"]));
    let vip = put(&mut world);
    assert_eq!(served(&world, vip).scheduler, "rr");
    assert_eq!(served(&world, tcp("10.96.0.2", 80)).scheduler, "sh");
}

#[test]
fn a_scheduler_that_the_kernel_lacks_is_told_and_replaced() {
    let mut world = World::new();
    let vip = put(&mut world);
    world.kernel.ipvs.set_schedulers(&["rr", "wrr"]);
    world.catalog.set_settings(scheduled_by("mh"));
    world.sync();
    assert_eq!(served(&world, vip).scheduler, "wrr");
    let conditions = world.balancer.conditions();
    assert!(
        matches!(conditions.as_slice(), [one] if one.contains("mh")),
        "{conditions:?}"
    );
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert!(world.start().is_noop());
    // A new virtual server has the other one from the start.
    world.kernel.ipvs.forget_changes();
    world
        .catalog
        .set_service(service("db", "10.96.0.2", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("db", Protocol::Tcp, &["10.1.0.1"]));
    world.sync();
    assert_eq!(world.kernel.ipvs.changes().len(), 2);
}

#[test]
fn affinity_is_persistence_of_each_client_address() {
    let mut world = World::new();
    let vip = put(&mut world);
    let mut sticky = service("web", "10.96.0.1", Protocol::Tcp);
    for seconds in [Some(10_800), Some(60), None] {
        sticky.affinity_seconds = seconds;
        world.catalog.set_service(sticky.clone());
        world.sync();
        let expected = seconds.map(|s| Persistence::of_each_client(vip.family(), s));
        assert_eq!(served(&world, vip).persistence, expected);
    }
}

#[test]
fn lifetimes_are_set_where_they_differ() {
    use sluice_kernel::ipvs::Ipvs;
    let mut settings = settings();
    settings.ipvs.timeouts.tcp = Some(7_200);
    let mut world = World::with(settings.clone());
    let present = world.kernel.ipvs.clone().timeouts().unwrap();
    assert_eq!((present.tcp_seconds, present.udp_seconds), (7_200, 300));
    assert!(world.restart().is_noop());
    settings.ipvs.timeouts.udp = Some(30);
    world.catalog.set_settings(settings);
    world.sync();
    let present = world.kernel.ipvs.clone().timeouts().unwrap();
    assert_eq!((present.tcp_seconds, present.udp_seconds), (7_200, 30));
}
