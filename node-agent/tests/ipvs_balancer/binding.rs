//! Service addresses become the node's.

use sluice_agent::balancer::Balancer;
use sluice_kernel::links::{InterfaceAddress, Links, RouteNotice};
use sluice_service_plan::model::{
    AddressType, EndpointSlice, IpvsSettings, NodePortAddresses, Protocol, Settings, TrafficPolicy,
    VipBinding,
};

use crate::world::{World, name, node, on_nodes, service, settings, slice, tcp, weights};

fn bound_by(vip_binding: VipBinding) -> Settings {
    Settings {
        ipvs: IpvsSettings {
            vip_binding,
            ..IpvsSettings::default()
        },
        ..settings()
    }
}

fn put(world: &mut World, service_name: &str, ip: &str) {
    world
        .catalog
        .set_service(service(service_name, ip, Protocol::Tcp));
    world
        .catalog
        .set_slice(slice(service_name, Protocol::Tcp, &["10.1.0.1"]));
}

/// Service addresses on the device.
fn on_device(world: &World) -> Vec<String> {
    let state = world.kernel.state();
    let ours = state.addresses.iter().filter(|a| a.interface != 200);
    ours.map(|a| format!("{}/{}", a.address, a.prefix_len))
        .collect()
}

#[test]
fn a_route_names_its_maker_and_a_source() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    let routes = world.kernel.state().routes;
    let [route] = routes.as_slice() else {
        panic!("{routes:?}");
    };
    assert_eq!(route.destination.to_string(), "10.96.0.1/32");
    assert_eq!(route.source, Some("192.0.2.10".parse().unwrap()));
    assert_eq!((route.table, route.protocol), (255, 92));
}

#[test]
fn the_source_follows_the_nodes_addresses() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    world.move_node(&["198.51.100.7"]);
    world.sync();
    let source = world.kernel.state().routes[0].source;
    assert_eq!(source, Some("198.51.100.7".parse().unwrap()));
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn another_binding_is_a_live_change_both_ways() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    put(&mut world, "db", "10.96.0.2");
    world.sync();
    let routed = world.kernel.state();
    world.catalog.set_settings(bound_by(VipBinding::Dummy));
    world.sync();
    assert_eq!(on_device(&world), ["10.96.0.1/32", "10.96.0.2/32"]);
    // The source of the node's own packets is the node's address in both.
    assert_eq!(world.kernel.state().routes, routed.routes);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert!(world.restart().is_noop());
    world.catalog.set_settings(settings());
    world.sync();
    assert_eq!(world.kernel.state(), routed);
}

#[test]
fn two_services_on_an_address_share_it() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    let mut other = service("db", "10.96.0.1", Protocol::Tcp);
    other.ports[0].port = 81;
    world.catalog.set_service(other);
    world
        .catalog
        .set_slice(slice("db", Protocol::Tcp, &["10.1.0.1"]));
    world.sync();
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    for (gone, left) in [("web", 1), ("db", 0)] {
        world.catalog.remove_service(&name(gone));
        world.sync();
        world.drain_after(1);
        assert_eq!(world.kernel.routed().len(), left);
    }
}

#[test]
fn an_address_of_the_node_is_not_bound_while_it_is_one() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    for (addresses, routed) in [(&["192.0.2.10", "10.96.0.1"][..], 0), (&["192.0.2.10"], 1)] {
        world.move_node(addresses);
        world.sync();
        assert_eq!(world.kernel.routed().len(), routed);
        assert!(world.kernel.weights(tcp("10.96.0.1", 80)).is_some());
        assert_eq!(world.balancer.verify().unwrap(), vec![]);
        assert_eq!(world.balancer.check().unwrap(), vec![]);
        assert!(world.restart().is_noop());
    }
}

#[test]
fn node_ports_follow_the_nodes_addresses() {
    let mut world = with_node_port(World::new());
    world.sync();
    let (first, second) = (tcp("192.0.2.10", 30_080), tcp("192.0.2.11", 30_080));
    let served = |world: &World| [first, second].map(|vs| world.kernel.weights(vs).is_some());
    assert_eq!(served(&world), [true, false]);
    assert!(world.kernel.weights(tcp("127.0.0.1", 30_080)).is_none());
    world.move_node(&["192.0.2.10", "192.0.2.11"]);
    world.sync();
    assert_eq!(served(&world), [true, true]);
    world.move_node(&["192.0.2.11"]);
    world.sync();
    assert_eq!(served(&world), [false, true]);
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
}

/// A world with an IPv6 service, that knows of these addresses of the node before the kernel holds them.
fn expecting(held: &[&str], expected: &[&str], binding: VipBinding) -> World {
    let mut world = World::with(bound_by(binding));
    world.move_node(held);
    world
        .catalog
        .set_service(service("web", "fd00:96::1", Protocol::Tcp));
    world.catalog.set_slice(EndpointSlice {
        address_type: AddressType::Ipv6,
        ..slice("web", Protocol::Tcp, &["fd00:10::1"])
    });
    world.sync();
    world.catalog.set_node(node(expected));
    world.sync();
    world
}

#[test]
fn an_address_that_was_refused_is_tried_again_until_it_is_bound() {
    for binding in [VipBinding::LocalRoute, VipBinding::Dummy] {
        let node = ["192.0.2.10", "2001:db8::10"];
        let mut world = expecting(&node[..1], &node, binding);
        assert_eq!(world.balancer.conditions().len(), 1, "{binding:?}");
        assert!(world.drain_after(1).report.is_noop(), "{binding:?}");
        world.kernel.hold(&node);
        assert_eq!(world.drain_after(1).report.bindings, 1, "{binding:?}");
        let [route] = world.kernel.state().routes[..] else {
            panic!("one service has one route");
        };
        assert_eq!(route.source, Some(node[1].parse().unwrap()));
        assert_eq!(world.balancer.conditions(), Vec::<String>::new());
        assert_eq!(world.balancer.verify().unwrap(), vec![]);
        assert!(world.restart().is_noop(), "{binding:?}");
    }
}

#[test]
fn a_route_whose_successor_was_refused_goes_with_its_service() {
    for binding in [VipBinding::LocalRoute, VipBinding::Dummy] {
        let held = ["192.0.2.10", "2001:db8::10"];
        let mut world = expecting(&held, &["192.0.2.10", "2001:db8::11"], binding);
        assert_eq!(world.balancer.conditions().len(), 1, "{binding:?}");
        assert_eq!(world.kernel.routed(), ["fd00:96::1"], "{binding:?}");
        world.catalog.remove_service(&name("web"));
        world.sync();
        world.drain_after(1);
        assert!(world.kernel.routed().is_empty(), "{binding:?}");
        assert!(on_device(&world).is_empty(), "{binding:?}");
    }
}

/// A service with a node port, not synced yet.
fn with_node_port(mut world: World) -> World {
    let web = service("web", "10.96.0.1", Protocol::Tcp);
    world
        .catalog
        .set_service(on_nodes(web, 30_080, TrafficPolicy::Cluster));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1"]));
    world
}

/// A node port, with a connection by each of the node's two addresses.
fn with_connections(binding: VipBinding) -> World {
    let mut world = with_node_port(World::with(bound_by(binding)));
    world.move_node(&["192.0.2.10", "192.0.2.11"]);
    world.sync();
    for address in ["192.0.2.10", "192.0.2.11"] {
        world
            .kernel
            .set_active(tcp(address, 30_080), "10.1.0.1:8080", 1);
    }
    world
}

#[test]
fn an_address_that_leaves_the_node_is_never_bound_for_what_is_left_of_a_node_port() {
    type Departure = fn(&mut World);
    let departures: [Departure; 4] = [
        |world| {
            world.move_node(&["192.0.2.10"]);
            world.sync();
        },
        |world| {
            world.move_node(&["192.0.2.10"]);
            world.restart();
        },
        // The connection was left alone before the address went.
        |world| {
            world.catalog.set_settings(Settings {
                node_port_addresses: NodePortAddresses::Primary,
                ..world.catalog.plan().settings.as_ref().clone()
            });
            world.sync();
            assert!(world.kernel.weights(tcp("192.0.2.11", 30_080)).is_some());
            world.move_node(&["192.0.2.10"]);
            world.sync();
        },
        |world| {
            world.balancer.deactivate().unwrap();
            world.move_node(&["192.0.2.10"]);
            world.sync();
        },
    ];
    for binding in [VipBinding::LocalRoute, VipBinding::Dummy] {
        for (n, depart) in departures.iter().enumerate() {
            let mut world = with_connections(binding);
            depart(&mut world);
            assert_eq!(world.kernel.routed(), ["10.96.0.1"], "{binding:?} {n}");
            let gone = world.kernel.weights(tcp("192.0.2.11", 30_080));
            assert_eq!(gone, None, "{binding:?} {n}");
            assert_eq!(world.balancer.verify().unwrap(), vec![], "{binding:?} {n}");
        }
    }
}

#[test]
fn an_address_that_leaves_the_node_is_bound_for_the_service_that_has_it_too() {
    let mut world = with_connections(VipBinding::LocalRoute);
    let mut shop = service("shop", "10.96.0.2", Protocol::Tcp);
    shop.external_ips = vec!["192.0.2.11".parse().unwrap()];
    shop.ports[0].port = 30_080;
    world.catalog.set_service(shop);
    world
        .catalog
        .set_slice(slice("shop", Protocol::Tcp, &["10.1.0.9"]));
    world.sync();
    assert_eq!(world.kernel.routed(), ["10.96.0.1", "10.96.0.2"]);
    world.move_node(&["192.0.2.10"]);
    world.sync();
    let all = ["10.96.0.1", "10.96.0.2", "192.0.2.11"];
    assert_eq!(world.kernel.routed(), all);
    assert!(world.restart().is_noop());
    assert_eq!(world.kernel.routed(), all);
}

#[test]
fn a_service_address_wins_over_a_node_port_and_gives_it_back() {
    let mut world = World::new();
    let web = service("web", "10.96.0.1", Protocol::Tcp);
    world
        .catalog
        .set_service(on_nodes(web, 30_080, TrafficPolicy::Cluster));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1"]));
    world.sync();
    let mut other = service("db", "10.96.0.2", Protocol::Tcp);
    other.external_ips = vec!["192.0.2.10".parse().unwrap()];
    other.ports[0].port = 30_080;
    let shared = tcp("192.0.2.10", 30_080);
    world
        .catalog
        .set_slice(slice("db", Protocol::Tcp, &["10.1.0.9"]));
    world.catalog.set_service(other);
    world.sync();
    world.drain_after(1);
    assert_eq!(world.kernel.weights(shared), weights(&[("10.1.0.9", 1)]));
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    world.catalog.remove_service(&name("db"));
    world.sync();
    world.drain_after(1);
    assert_eq!(world.kernel.weights(shared), weights(&[("10.1.0.1", 1)]));
}

#[test]
fn excluded_networks_get_nothing() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    put(&mut world, "db", "10.97.0.1");
    world.sync();
    let mut excluding = settings();
    excluding.ipvs.excluded = vec!["10.97.0.0/16".parse().unwrap()];
    world.catalog.set_settings(excluding);
    world.sync();
    world.drain_after(1);
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    assert!(world.kernel.weights(tcp("10.97.0.1", 80)).is_none());
}

#[test]
fn a_device_that_was_deleted_or_taken_down_is_drift_and_mended() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    let before = world.kernel.state();
    let mut links = world.kernel.links.clone();
    let device = |links: &mut dyn Links| {
        let all = links.links().unwrap();
        all.iter().find(|l| l.name == "kube-ipvs0").unwrap().index
    };
    let index = device(&mut links);
    links.set_up(index, false).unwrap();
    assert_eq!(world.balancer.check().unwrap().len(), 1);
    world.start();
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    let index = device(&mut links);
    links.delete_link(index).unwrap();
    assert_eq!(world.balancer.check().unwrap().len(), 1);
    world.start();
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    assert_eq!(world.kernel.state().links, before.links);
}

#[test]
fn an_address_that_another_put_on_the_device_stays() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    let mut links = world.kernel.links.clone();
    let all = links.links().unwrap();
    let index = all.iter().find(|l| l.name == "kube-ipvs0").unwrap().index;
    let foreign = InterfaceAddress {
        interface: index,
        address: "10.96.0.9".parse().unwrap(),
        prefix_len: 32,
    };
    links.add_address(&foreign).unwrap();
    assert!(world.restart().is_noop());
    assert!(world.balancer.remove().is_empty());
    assert_eq!(on_device(&world), ["10.96.0.9/32"]);
    assert!(world.kernel.routed().is_empty());
}

#[test]
fn a_notice_of_a_lost_route_is_followed_at_once_and_that_of_another_link_is_not() {
    let mut world = World::new();
    put(&mut world, "web", "10.96.0.1");
    world.sync();
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    let mut links = world.kernel.links.clone();
    let [route] = world.kernel.state().routes[..] else {
        panic!("one service has one route");
    };
    links.delete_route(&route).unwrap();
    // Nothing is listed again so soon.
    world.balancer.doubt(&[RouteNotice::LinkGone(4711)]);
    world.balancer.doubt(&[RouteNotice::RouteGone(route)]);
    assert_eq!(world.balancer.check().unwrap().len(), 1);
}
