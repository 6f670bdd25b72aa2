//! `externalTrafficPolicy: Local`: clients on this node have a pool of their own, by a firewall mark.

use sluice_agent::balancer::Balancer;
use sluice_agent::balancer::ipvs::names;
use sluice_kernel::address_set::{AddressSets, Family as KernelFamily, Mark};
use sluice_kernel::ipvs::VirtualServer;
use sluice_service_plan::model::{Family, Protocol, Settings, TrafficPolicy};

use crate::world::{World, name, on_nodes, service, settings, slice, tcp, weights};

fn world_with(endpoints: &[&str], settings: Settings) -> World {
    let mut world = World::with(settings);
    let mut web = on_nodes(
        service("web", "10.96.0.1", Protocol::Tcp),
        30_080,
        TrafficPolicy::Local,
    );
    web.external_ips = vec!["198.51.100.1".parse().unwrap()];
    world.catalog.set_service(web);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, endpoints));
    world.sync();
    world
}

/// Marks of the frontends, and the virtual servers by mark.
fn marks(world: &World) -> (Vec<Mark>, Vec<u32>) {
    let listed = world
        .kernel
        .sets
        .clone()
        .list(&names::inside(Family::V4))
        .unwrap();
    let given = listed.iter().map(|entry| entry.mark.unwrap()).collect();
    let state = world.kernel.state();
    let served = state.servers.keys().filter_map(|server| match server {
        VirtualServer::Mark { family, mark } => {
            assert_eq!(*family, KernelFamily::V4);
            Some(mark.get())
        }
        VirtualServer::Address { .. } => None,
    });
    (given, served.collect())
}

fn by_mark(mark: u32) -> VirtualServer {
    VirtualServer::Mark {
        family: KernelFamily::V4,
        mark: mark.try_into().unwrap(),
    }
}

#[test]
fn inside_clients_reach_all_endpoints_and_outside_ones_those_of_this_node() {
    let world = world_with(&["10.1.0.1", "10.1.0.2"], settings());
    let here = weights(&[("10.1.0.2", 1)]);
    let all = weights(&[("10.1.0.1", 1), ("10.1.0.2", 1)]);
    assert_eq!(world.kernel.weights(tcp("198.51.100.1", 80)), here);
    assert_eq!(world.kernel.weights(tcp("192.0.2.10", 30_080)), here);
    assert_eq!(world.kernel.weights(tcp("10.96.0.1", 80)), all);
    let (given, served) = marks(&world);
    // The external IP and the node port on the node's address; not the cluster IP.
    let [one, other] = given.as_slice() else {
        panic!("{given:?}");
    };
    assert_eq!(one, other);
    assert_eq!(one.mask, u32::MAX);
    assert_eq!(one.value >> 24, 0x5c);
    assert_eq!(served, [one.value, one.value | 1 << 14]);
    for mark in served {
        assert_eq!(world.kernel.weights(by_mark(mark)), all);
    }
}

#[test]
fn without_endpoints_here_the_address_is_bound_for_inside_clients_alone() {
    let mut world = world_with(&["10.1.0.1"], settings());
    assert!(world.kernel.weights(tcp("198.51.100.1", 80)).is_none());
    assert_eq!(world.kernel.routed(), ["10.96.0.1", "198.51.100.1"]);
    assert_eq!(marks(&world).1.len(), 2);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert!(world.restart().is_noop());
    world.catalog.set_slice(slice("web", Protocol::Tcp, &[]));
    world.sync();
    world.drain_after(1);
    assert!(world.kernel.routed().is_empty());
    assert_eq!(marks(&world), (vec![], vec![]));
}

#[test]
fn an_address_that_leaves_the_node_is_not_bound_for_connections_by_mark() {
    let mut world = world_with(&["10.1.0.1"], settings());
    world.move_node(&["192.0.2.10", "192.0.2.11"]);
    world.sync();
    for mark in marks(&world).1 {
        world.kernel.set_active(by_mark(mark), "10.1.0.1:8080", 1);
    }
    world.catalog.remove_service(&name("web"));
    world.sync();
    assert_eq!(marks(&world).1.len(), 2);
    world.move_node(&["192.0.2.10"]);
    world.sync();
    assert_eq!(world.kernel.routed(), ["10.96.0.1", "198.51.100.1"]);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn the_tag_of_marks_leaves_the_masquerade_bit_alone_wherever_it_is() {
    for mark_bit in [0, 14, 24, 26, 27, 28, 30, 31] {
        let world = world_with(
            &["10.1.0.1"],
            Settings {
                mark_bit,
                ..settings()
            },
        );
        let (tag, mask) = names::mark_tag(mark_bit);
        let (given, served) = marks(&world);
        let bit = 1u32 << mark_bit;
        assert_eq!(given[0].value & bit, 0);
        assert_eq!(given[0].value & mask, tag);
        let mut expected = vec![given[0].value, given[0].value | bit];
        expected.sort_unstable();
        assert_eq!(served, expected);
    }
}

#[test]
fn connections_by_mark_keep_their_address_after_the_service_is_gone() {
    let mut world = world_with(&["10.1.0.1"], settings());
    let mark = by_mark(marks(&world).1[0]);
    world.kernel.set_active(mark, "10.1.0.1:8080", 1);
    world.catalog.remove_service(&name("web"));
    world.sync();
    world.drain_after(1);
    assert_eq!(marks(&world).0, vec![]);
    assert_eq!(world.kernel.routed(), ["198.51.100.1"]);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    let report = world.restart();
    assert!(report.is_noop(), "{report:?}");
    assert_eq!(world.drain_after(1).waiting, 1);
    assert_eq!(world.kernel.routed(), ["198.51.100.1"]);
    world.kernel.set_active(mark, "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert!(world.kernel.routed().is_empty());
    assert!(world.kernel.state().sets.values().all(Vec::is_empty));
}

#[test]
fn connections_by_mark_share_the_addresses_that_they_may_need_after_a_restart() {
    let mut world = world_with(&["10.1.0.1", "10.1.0.2"], settings());
    let mut db = on_nodes(
        service("db", "10.96.0.2", Protocol::Tcp),
        30_081,
        TrafficPolicy::Local,
    );
    db.external_ips = vec!["198.51.100.2".parse().unwrap()];
    world.catalog.set_service(db);
    world
        .catalog
        .set_slice(slice("db", Protocol::Tcp, &["10.1.0.1"]));
    world.sync();
    let mut marks: Vec<u32> = marks(&world).0.iter().map(|mark| mark.value).collect();
    marks.sort_unstable();
    marks.dedup();
    let [lower, higher] = marks[..] else {
        panic!("{marks:?}");
    };
    let outside = tcp("198.51.100.1", 80);
    world.kernel.set_active(outside, "10.1.0.2:8080", 1);
    for mark in [lower, higher] {
        world.kernel.set_active(by_mark(mark), "10.1.0.1:8080", 1);
    }
    for service in ["web", "db"] {
        world.catalog.remove_service(&name(service));
    }
    world.sync();
    world.drain_after(1);
    let both = ["198.51.100.1", "198.51.100.2"];
    assert_eq!(world.kernel.routed(), both);
    world.restart();
    assert_eq!(world.drain_after(1).waiting, 3);
    for ended in [
        (outside, "10.1.0.2:8080"),
        (by_mark(lower), "10.1.0.1:8080"),
    ] {
        world.kernel.set_active(ended.0, ended.1, 0);
        world.drain_after(1);
        assert_eq!(world.kernel.routed(), both, "{ended:?}");
    }
    world.kernel.set_active(by_mark(higher), "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert!(world.kernel.routed().is_empty());
    assert!(world.kernel.state().sets.values().all(Vec::is_empty));
}

#[test]
fn another_policy_takes_the_mark_away_and_gives_it_back() {
    let mut world = world_with(&["10.1.0.1", "10.1.0.2"], settings());
    let before = world.kernel.state();
    let web = service("web", "10.96.0.1", Protocol::Tcp);
    let mut cluster = on_nodes(web, 30_080, TrafficPolicy::Cluster);
    cluster.external_ips = vec!["198.51.100.1".parse().unwrap()];
    let mut local = cluster.clone();
    local.external_policy = TrafficPolicy::Local;
    world.catalog.set_service(cluster);
    world.sync();
    world.drain_after(1);
    assert_eq!(marks(&world), (vec![], vec![]));
    world.catalog.set_service(local);
    world.sync();
    world.drain_after(1);
    assert_eq!(world.kernel.state(), before);
}
