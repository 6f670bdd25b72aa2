//! What is not ours stays as it is.

use sluice_agent::balancer::ipvs::names;
use sluice_agent::balancer::{Balancer, Scope};
use sluice_agent::data_plane::Drift;
use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, IpProtocol};
use sluice_kernel::ipvs::{Cause, Change, Destination, Ipvs, RealServer, Service, VirtualServer};
use sluice_service_plan::model::{Family, Protocol};

use crate::world::{World, name, service, slice, tcp, weights};

fn foreign(world: &World, server: VirtualServer) {
    let destination = Destination::new(RealServer::new("10.9.9.9".parse().unwrap(), 8080), 1);
    let changes = [
        Change::NewService(Service::new(server, "lc")),
        Change::NewDestination(server, destination),
    ];
    let refused = world.kernel.ipvs.clone().apply(&changes).unwrap();
    assert!(refused.is_empty());
}

fn put(world: &mut World) -> VirtualServer {
    world
        .catalog
        .set_service(service("web", "10.96.0.1", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1"]));
    tcp("10.96.0.1", 80)
}

#[test]
fn virtual_servers_of_others_outlive_us() {
    let mut world = World::new();
    let other = tcp("10.50.0.1", 80);
    foreign(&world, other);
    put(&mut world);
    world.sync();
    world.restart();
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    assert!(world.balancer.remove().is_empty());
    let state = world.kernel.state();
    assert_eq!(state.servers.into_keys().collect::<Vec<_>>(), [other]);
    assert_eq!(state.links.len(), 1);
    assert!(state.routes.is_empty() && state.sets.is_empty());
}

#[test]
fn another_programs_virtual_server_on_our_frontend_is_left_alone_and_told() {
    // There before the balancer looks, or made after it has looked.
    for before in [true, false] {
        let mut world = World::new();
        let vip = tcp("10.96.0.1", 80);
        foreign(&world, vip);
        if before {
            world.restart();
        }
        put(&mut world);
        world.sync();
        world
            .catalog
            .set_slice(slice("web", Protocol::Tcp, &["10.1.0.3"]));
        world.sync();
        assert_eq!(world.kernel.weights(vip), weights(&[("10.9.9.9", 1)]));
        assert_eq!(world.balancer.conditions().len(), 1);
        assert_eq!(world.balancer.verify().unwrap(), vec![]);
        assert!(world.kernel.routed().is_empty());
        assert!(world.kernel.state().sets.values().all(Vec::is_empty));
        // It is served once the other has gone.
        world
            .kernel
            .ipvs
            .clone()
            .apply(&[Change::DeleteService(vip)])
            .unwrap();
        assert!(!world.balancer.verify().unwrap().is_empty());
        world.start();
        assert_eq!(world.kernel.weights(vip), weights(&[("10.1.0.3", 1)]));
        assert!(world.balancer.conditions().is_empty());
    }
}

#[test]
fn what_is_changed_behind_our_back_is_drift_and_mended() {
    let mut world = World::new();
    let vip = put(&mut world);
    world.sync();
    let before = world.kernel.state();
    let endpoint = RealServer::new("10.1.0.1".parse().unwrap(), 8080);
    let edits = [
        Change::DeleteService(vip),
        Change::SetService(Service::new(vip, "lc")),
        Change::DeleteDestination(vip, endpoint),
        Change::SetDestination(vip, Destination::new(endpoint, 0)),
        Change::NewDestination(
            vip,
            Destination::new(RealServer::new("10.1.0.7".parse().unwrap(), 1), 1),
        ),
    ];
    for edit in edits {
        world
            .kernel
            .ipvs
            .clone()
            .apply(std::slice::from_ref(&edit))
            .unwrap();
        let drifts = world.balancer.verify().unwrap();
        assert!(
            drifts.iter().any(|d| d.object.contains("10.96.0.1")),
            "{edit}: {drifts:?}"
        );
        world.start();
        world.drain_after(1);
        assert_eq!(world.kernel.state(), before, "{edit}");
    }
}

/// Somebody empties the set that says which virtual servers are ours.
fn empty_the_ledger(world: &World) {
    let mut sets = world.kernel.sets.clone();
    let name = names::servers(Family::V4);
    let headers = sets.headers(&name).unwrap();
    let listed = sets.list(&name).unwrap();
    let entries: Vec<Entry> = listed.iter().map(|one| one.entry).collect();
    sets.delete(&headers[0].spec, &entries).unwrap();
}

#[test]
fn what_we_made_stays_ours_where_a_comparison_finds_the_ledger_emptied() {
    let mut world = World::new();
    put(&mut world);
    world.sync();
    let before = world.kernel.state();
    empty_the_ledger(&world);
    assert!(!world.balancer.verify().unwrap().is_empty());
    world.start();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.balancer.conditions(), [""; 0]);
}

#[test]
fn what_we_made_stays_ours_where_a_ledger_of_the_same_size_lacks_it() {
    let mut world = World::new();
    let vip = put(&mut world);
    world.sync();
    let before = world.kernel.state();
    empty_the_ledger(&world);
    let mut sets = world.kernel.sets.clone();
    let spec = sets.headers(&names::servers(Family::V4)).unwrap()[0]
        .spec
        .clone();
    let odd = Entry::IpPort("10.96.0.9".parse().unwrap(), IpProtocol::TCP, 80);
    sets.add(&spec, &[odd]).unwrap();
    let drifts = world.balancer.verify().unwrap();
    let named = |drift: &Drift| drift.object.contains(&vip.to_string());
    assert!(drifts.iter().any(named), "{drifts:?}");
    assert_eq!(world.balancer.conditions(), [""; 0]);
    // The next look counts.
    sets.delete(&spec, &[odd]).unwrap();
    assert!(!world.balancer.check().unwrap().is_empty());
    world.start();
    assert_eq!(world.kernel.state(), before);
}

#[test]
fn a_restoration_of_the_ledger_that_fails_is_made_again() {
    let mut world = World::new();
    put(&mut world);
    world.sync();
    let before = world.kernel.state();
    empty_the_ledger(&world);
    for calls in 0..8 {
        let failure = || AddressSetError::NotFound {
            name: "some".to_owned(),
        };
        world.kernel.sets.fail_after(calls, failure);
        let plan = world.catalog.plan();
        let _ = world.balancer.apply(plan, Scope::All);
    }
    world.start();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.balancer.conditions(), [""; 0]);
}

#[test]
fn an_endpoint_that_the_kernel_refuses_costs_no_other_its_traffic() {
    let mut world = World::new();
    let vip = put(&mut world);
    world.sync();
    world.kernel.ipvs.refuse_after(0, || Cause::BadAddress);
    world.catalog.set_slice(slice(
        "web",
        Protocol::Tcp,
        &["10.1.0.1", "10.1.0.2", "10.1.0.3"],
    ));
    world.sync();
    assert_eq!(
        world.kernel.weights(vip),
        weights(&[("10.1.0.1", 1), ("10.1.0.3", 1)])
    );
    assert_eq!(world.balancer.conditions().len(), 1);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
    world.catalog.remove_service(&name("web"));
    world.sync();
    assert!(world.balancer.conditions().is_empty());
}
