//! What kube-proxy's IPVS mode left on our frontends becomes ours, as it is.

use std::net::IpAddr;

use sluice_agent::balancer::Balancer;
use sluice_kernel::address_set::{AddressSets, Entry, Family, IpProtocol, SetKind, SetSpec};
use sluice_kernel::ipvs::{Change, Destination, Forward, Ipvs, RealServer, Service, VirtualServer};
use sluice_kernel::links::{InterfaceAddress, Links, Route, RouteFilter, RouteKind};
use sluice_service_plan::model::{Protocol, Settings, TrafficPolicy, VipBinding};

use crate::world::{World, name, on_nodes, service, slice, tcp, weights};

const VIP: &str = "10.96.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(world: &World, name: &str, kind: SetKind, entries: &[Entry]) {
    let mut sets = world.kernel.sets.clone();
    let spec = SetSpec {
        name: name.to_owned(),
        kind,
        family: Family::V4,
        max_entries: 65_536,
        expected_entries: 0,
        timeout_seconds: None,
        marks: false,
    };
    // It may be there.
    let _ = sets.create(&spec);
    sets.add(&spec, entries).unwrap();
}

fn destination(address: &str, weight: u32) -> Destination {
    Destination::new(RealServer::new(ip(address), 8080), weight)
}

fn write(world: &World, changes: &[Change]) {
    assert!(world.kernel.ipvs.clone().apply(changes).unwrap().is_empty());
}

fn virtual_server(world: &World, server: VirtualServer, scheduler: &str, real: &[Destination]) {
    let new = |one: &Destination| Change::NewDestination(server, *one);
    let mut changes = vec![Change::NewService(Service::new(server, scheduler))];
    changes.extend(real.iter().map(new));
    write(world, &changes);
}

/// Its sets, as it writes them for one cluster IP and one node port.
fn claim(world: &World) {
    let frontend = Entry::IpPort(ip(VIP), IpProtocol::TCP, 80);
    set(world, "KUBE-CLUSTER-IP", SetKind::HashIpPort, &[frontend]);
    set(
        world,
        "KUBE-NODE-PORT-TCP",
        SetKind::BitmapPort,
        &[Entry::Port(30_080)],
    );
    set(
        world,
        "KUBE-IPVS-IPS",
        SetKind::HashIp,
        &[Entry::Ip(ip(VIP))],
    );
}

/// An address on the device, with the kernel's own route to it.
fn bind(world: &World) -> u32 {
    let mut links = world.kernel.links.clone();
    let interface = links.add_dummy("kube-ipvs0").unwrap();
    links
        .add_address(&InterfaceAddress {
            interface,
            address: ip(VIP),
            prefix_len: 32,
        })
        .unwrap();
    let route = Route {
        destination: ip(VIP).into(),
        kind: RouteKind::LOCAL,
        gateway: None,
        interface: Some(interface),
        source: Some(ip(VIP)),
        table: 255,
        protocol: 2,
        metric: 0,
    };
    links.replace_route(&route).unwrap();
    interface
}

fn web(world: &mut World, endpoints: &[&str]) {
    let web = service("web", VIP, Protocol::Tcp);
    world
        .catalog
        .set_service(on_nodes(web, 30_080, TrafficPolicy::Cluster));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, endpoints));
}

fn is_noted(world: &World, server: &str) -> bool {
    let sets = world.kernel.state().sets;
    sets["SLUICE-4-V-SERVERS"]
        .iter()
        .any(|entry| entry.contains(server))
}

#[test]
fn what_is_equal_is_not_written_and_what_differs_is_edited() {
    let mut world = World::new();
    claim(&world);
    virtual_server(
        &world,
        tcp(VIP, 80),
        "rr",
        &[destination("10.1.0.1", 1), destination("10.1.0.2", 1)],
    );
    virtual_server(
        &world,
        tcp("192.0.2.10", 30_080),
        "lc",
        &[destination("10.1.0.2", 0), destination("10.1.0.9", 1)],
    );
    world
        .kernel
        .set_active(tcp("192.0.2.10", 30_080), "10.1.0.9:8080", 1);
    world.balancer = world.kernel.balancer();
    web(&mut world, &["10.1.0.1", "10.1.0.2"]);
    let report = world.start();
    // The scheduler, one real server that comes, one that gets its weight, one that leaves.
    assert_eq!(report.ipvs_commands, 4);
    assert!(is_noted(&world, VIP) && is_noted(&world, "192.0.2.10"));
    assert_eq!(world.balancer.conditions(), [""; 0]);
    assert_eq!(
        world.kernel.weights(tcp("192.0.2.10", 30_080)),
        weights(&[("10.1.0.1", 1), ("10.1.0.2", 1), ("10.1.0.9", 0)])
    );
    assert_eq!(world.drain_after(1).waiting, 1);
    world
        .kernel
        .set_active(tcp("192.0.2.10", 30_080), "10.1.0.9:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert!(world.restart().is_noop());
}

#[test]
fn one_that_comes_to_be_wanted_later_is_taken_over_too() {
    let mut world = World::new();
    claim(&world);
    virtual_server(&world, tcp(VIP, 80), "rr", &[]);
    web(&mut world, &[]);
    world.restart();
    assert!(!is_noted(&world, VIP));
    web(&mut world, &["10.1.0.1"]);
    world.sync();
    assert!(is_noted(&world, VIP));
    assert_eq!(
        world.kernel.weights(tcp(VIP, 80)),
        weights(&[("10.1.0.1", 1)])
    );
    assert!(!world.kernel.routed().is_empty(), "its address is bound");
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn one_that_kube_proxy_makes_at_the_same_moment_is_taken_over_once_its_sets_name_it() {
    let mut world = World::new();
    virtual_server(&world, tcp(VIP, 80), "rr", &[]);
    web(&mut world, &["10.1.0.1"]);
    world.sync();
    assert_eq!(world.balancer.conditions().len(), 1);
    assert_eq!(world.balancer.check().unwrap(), vec![]);
    claim(&world);
    world
        .balancer
        .doubt(&[sluice_kernel::links::RouteNotice::Overrun]);
    let drifts = world.balancer.check().unwrap();
    assert!(drifts[0].what.contains("taken over"), "{drifts:?}");
    assert!(!world.balancer.verify().unwrap().is_empty());
    world.start();
    assert!(is_noted(&world, VIP));
    assert_eq!(world.balancer.conditions(), [""; 0]);
}

#[test]
fn what_we_made_stays_ours_where_the_ledger_is_emptied_while_kube_proxys_sets_are_there() {
    let mut world = World::new();
    world
        .catalog
        .set_service(service("db", "10.96.0.2", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("db", Protocol::Tcp, &["10.1.0.2"]));
    world.sync();
    claim(&world);
    let before = world.kernel.state();
    let mut sets = world.kernel.sets.clone();
    let header = &sets.headers("SLUICE-4-V-SERVERS").unwrap()[0];
    let entry = Entry::IpPort(ip("10.96.0.2"), IpProtocol::TCP, 80);
    sets.delete(&header.spec, &[entry]).unwrap();
    world.balancer.take_note(world.catalog.plan()).unwrap();
    world.start();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.balancer.conditions(), [""; 0]);
}

#[test]
fn what_is_not_named_or_not_as_kube_proxy_makes_them_is_left_alone() {
    let plain = destination("10.9.9.9", 1);
    let routed = Destination {
        forward: Forward::Route,
        ..plain
    };
    let heavy = Destination { weight: 7, ..plain };
    for (named, real) in [(false, plain), (true, routed), (true, heavy)] {
        let mut world = World::new();
        if named {
            claim(&world);
        }
        virtual_server(&world, tcp(VIP, 80), "rr", &[real]);
        web(&mut world, &["10.1.0.1"]);
        world.restart();
        assert!(!is_noted(&world, VIP), "{real:?}");
        assert_eq!(world.balancer.conditions().len(), 1);
        assert_eq!(world.balancer.verify().unwrap(), vec![]);
        let listed = world.kernel.ipvs.clone().destinations(&tcp(VIP, 80));
        assert_eq!(listed.unwrap()[0].destination, real);
        assert!(world.balancer.remove().is_empty());
        assert!(world.kernel.state().servers.contains_key(&tcp(VIP, 80)));
    }
}

#[test]
fn one_taken_over_goes_with_us_unless_kube_proxys_sets_name_it_still() {
    for named in [false, true] {
        let mut world = World::new();
        claim(&world);
        virtual_server(&world, tcp(VIP, 80), "rr", &[destination("10.1.0.1", 1)]);
        web(&mut world, &["10.1.0.1"]);
        world.restart();
        assert!(is_noted(&world, VIP));
        if !named {
            for set in ["KUBE-CLUSTER-IP", "KUBE-NODE-PORT-TCP", "KUBE-IPVS-IPS"] {
                world.kernel.sets.clone().destroy(set).unwrap();
            }
        }
        assert!(world.balancer.remove().is_empty());
        let left: Vec<_> = world.kernel.state().servers.into_keys().collect();
        let expected = [tcp(VIP, 80), tcp("192.0.2.10", 30_080)];
        assert_eq!(left.len(), if named { 2 } else { 0 }, "{left:?}");
        assert!(!named || expected.iter().all(|one| left.contains(one)));
        let sets = world.kernel.state().sets;
        assert!(sets.keys().all(|name| !name.starts_with("SLUICE-")));
        assert!(world.kernel.routed().is_empty());
    }
}

#[test]
fn kube_proxys_addresses_stay_with_local_routes_and_are_ours_with_addresses_till_they_go_back() {
    for binding in [VipBinding::LocalRoute, VipBinding::Dummy] {
        let mut settings = Settings::default();
        settings.ipvs.vip_binding = binding;
        let mut world = World::with(settings);
        claim(&world);
        let interface = bind(&world);
        virtual_server(&world, tcp(VIP, 80), "rr", &[destination("10.1.0.1", 1)]);
        let routes = |world: &World, protocol| {
            let filter = RouteFilter {
                protocol: Some(protocol),
                interface: Some(interface),
                ..RouteFilter::default()
            };
            world.kernel.links.clone().routes_of(&filter).unwrap()
        };
        let by_kernel = routes(&world, 2);
        web(&mut world, &["10.1.0.1"]);
        // The second time, ours are known from the ledger.
        for _ in 0..2 {
            world.restart();
            assert_eq!(world.balancer.conditions(), [""; 0], "{binding:?}");
            assert_eq!(world.balancer.verify().unwrap(), vec![], "{binding:?}");
            let held = world.kernel.links.clone().addresses_of(interface).unwrap();
            assert_eq!(held.len(), 1, "{binding:?}");
            assert_eq!(routes(&world, 92).len(), 1);
            assert_eq!(
                routes(&world, 2).len(),
                usize::from(binding == VipBinding::LocalRoute),
                "{binding:?}: the kernel's route is in the way of ours with addresses only"
            );
        }
        assert!(world.balancer.remove().is_empty());
        let held = world.kernel.links.clone().addresses_of(interface).unwrap();
        assert_eq!(held.len(), 1, "{binding:?}");
        assert_eq!(routes(&world, 2), by_kernel, "{binding:?}");
        assert_eq!(routes(&world, 92), vec![]);
        world.catalog.remove_service(&name("web"));
    }
}
