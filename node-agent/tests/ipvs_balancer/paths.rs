//! Every path to a plan ends in the same kernel state; a run that dies at any kernel call is brought there by the next.

use std::sync::Arc;

use proptest::prelude::*;
use sluice_agent::balancer::{Balancer, Scope};
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::ipvs::{
    Change, Destination, Ipvs, IpvsError, RealServer, Service as IpvsService,
};
use sluice_kernel::links::LinkError;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Protocol, Service, ServicePort, ServiceType, Settings,
    TrafficPolicy, VipBinding,
};

use crate::world::{State, World, name, on_nodes, service, settings, slice, tcp};

/// A change of the cluster or of the node.
#[derive(Debug, Clone)]
enum Step {
    Service(u8, Shape),
    Remove(u8),
    Endpoints(u8, Vec<u8>),
    Settings(u8),
    Addresses(u8),
    Drain,
}

#[derive(Debug, Clone)]
struct Shape {
    protocol: usize,
    on_nodes: bool,
    external: Option<u8>,
    local: bool,
    affinity: Option<u32>,
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        0..3usize,
        any::<bool>(),
        prop::option::of(0..4u8),
        any::<bool>(),
        prop::option::of(Just(60u32)),
    )
        .prop_map(|(protocol, on_nodes, external, local, affinity)| Shape {
            protocol,
            on_nodes,
            external,
            local,
            affinity,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..12u8, shape()).prop_map(|(n, shape)| Step::Service(n, shape)),
        3 => (0..12u8).prop_map(Step::Remove),
        6 => (0..12u8, prop::collection::vec(1..9u8, 0..4)).prop_map(|(n, e)| Step::Endpoints(n, e)),
        1 => (0..4u8).prop_map(Step::Settings),
        2 => (0..4u8).prop_map(Step::Addresses),
        1 => Just(Step::Drain),
    ]
}

fn shaped(n: u8, shape: &Shape) -> Service {
    let protocol = Protocol::ALL[shape.protocol];
    let mut service = service(&format!("s{n}"), &format!("10.96.{}.{n}", n % 3), protocol);
    if shape.on_nodes {
        service.kind = ServiceType::NodePort;
    }
    if shape.local {
        service.external_policy = TrafficPolicy::Local;
    }
    service.created = i64::from(n % 5);
    service.affinity_seconds = shape.affinity;
    // Some are the node's own, some are node ports' too; few, so that services quarrel over them.
    let external = ["192.0.2.10", "192.0.2.11", "198.51.100.1", "198.51.100.2"];
    service.external_ips = shape
        .external
        .map(|e| external[usize::from(e)].parse().unwrap())
        .into_iter()
        .collect();
    service.ports = [
        (80, 30_000 + u16::from(n)),
        (30_000 + u16::from(n + 1), 31_000 + u16::from(n)),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, (port, node_port))| ServicePort {
        name: Arc::from(if index == 0 { "" } else { "more" }),
        protocol,
        port,
        node_port: Some(node_port),
    })
    .collect();
    service
}

fn chosen(n: u8) -> Settings {
    let mut settings = settings();
    match n {
        1 => settings.ipvs.vip_binding = VipBinding::Dummy,
        2 => settings.ipvs.excluded = vec!["10.96.1.0/24".parse().unwrap()],
        3 => {
            settings.ipvs.scheduler = Arc::from("sh");
            settings.mark_bit = 27;
        }
        _ => {}
    }
    settings
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Service(n, shape) => world.catalog.set_service(shaped(*n, shape)),
        Step::Remove(n) => world.catalog.remove_service(&name(&format!("s{n}"))),
        Step::Endpoints(n, endpoints) => {
            let list: Vec<String> = endpoints.iter().map(|e| format!("10.1.0.{e}")).collect();
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
                for port in ["", "more"] {
                    let mut slice = slice(&format!("s{n}"), protocol, &list);
                    slice.name = name(&format!("s{n}-{index}{port}"));
                    slice.ports[0].name = Arc::from(port);
                    world.catalog.set_slice(slice);
                }
            }
        }
        Step::Settings(n) => world.catalog.set_settings(chosen(*n)),
        Step::Addresses(n) => {
            let mut addresses = vec!["192.0.2.10"];
            addresses.extend((n & 1 > 0).then_some("192.0.2.11"));
            addresses.extend((n & 2 > 0).then_some("198.51.100.1"));
            world.move_node(&addresses);
        }
        Step::Drain => {
            world.drain_after(1);
        }
    }
}

/// The state after a start from nothing.
fn fresh(world: &World) -> State {
    let mut other = World::new();
    let mut links = other.kernel.links.clone();
    for address in world.kernel.state().addresses {
        if address.interface == 200 {
            sluice_kernel::links::Links::add_address(&mut links, &address).unwrap();
        }
    }
    put_foreign(&other);
    let plan = world.catalog.plan();
    other.balancer = other.kernel.balancer();
    other.balancer.adopt().unwrap();
    other.balancer.apply(plan, Scope::All).unwrap();
    other.kernel.state()
}

/// A virtual server of another program, and one where a service of ours may want to be.
fn put_foreign(world: &World) {
    for server in [tcp("10.50.0.1", 80), tcp("10.96.2.2", 80)] {
        let destination = Destination::new(RealServer::new("10.9.9.9".parse().unwrap(), 80), 1);
        let changes = [
            Change::NewService(IpvsService::new(server, "lc")),
            Change::NewDestination(server, destination),
        ];
        world.kernel.ipvs.clone().apply(&changes).unwrap();
    }
}

fn started() -> World {
    let mut world = World::new();
    put_foreign(&world);
    world.restart();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_where_a_fresh_start_ends(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = started();
        for (index, step) in steps.iter().enumerate() {
            take(&mut world, step);
            // Some changes come alone, some in bursts.
            if index % 3 == 2 {
                continue;
            }
            world.sync();
            prop_assert_eq!(world.balancer.verify().unwrap(), vec![]);
            prop_assert_eq!(world.balancer.check().unwrap(), vec![]);
        }
        world.sync();
        world.drain_after(1);
        let state = world.kernel.state();
        prop_assert_eq!(&state, &fresh(&world));
        let servers = state.servers.len() as u64 - 2;
        prop_assert_eq!(world.balancer.servers().0, servers);

        let report = world.restart();
        prop_assert!(report.is_noop(), "a restart wrote something: {:?}", report);
        prop_assert_eq!(world.kernel.state(), state);

        let errors = world.balancer.remove();
        prop_assert!(errors.is_empty(), "{:?}", errors);
        let left = world.kernel.state();
        prop_assert_eq!(left.servers.len(), 2);
        prop_assert!(left.sets.is_empty() && left.routes.is_empty());
        prop_assert_eq!(left.links.len(), 1);
    }

    #[test]
    fn an_agent_that_dies_at_any_kernel_call_is_replaced_by_one_that_ends_right(
        steps in prop::collection::vec(step(), 1..12),
        last in prop::collection::vec(step(), 1..6),
        door in 0..3usize,
        calls in 0..16usize,
    ) {
        let mut world = started();
        for step in &steps {
            take(&mut world, step);
        }
        world.sync();
        for step in last.iter().filter(|step| !matches!(step, Step::Drain)) {
            take(&mut world, step);
        }
        let change = world.catalog.take_changes();
        match door {
            0 => world.kernel.ipvs.fail_after(calls, || IpvsError::Absent),
            1 => world.kernel.sets.fail_after(calls, || AddressSetError::Unsupported),
            _ => world.kernel.links.fail_after(calls, || LinkError::NotPermitted { operation: String::new() }),
        }
        let _ = world.balancer.apply(world.catalog.plan(), Scope::Change(&change));
        // A failure that is left hits the next start; the one after it gets through.
        let start = |world: &mut World| {
            world.balancer = world.kernel.balancer();
            world.balancer.adopt()?;
            world.balancer.apply(world.catalog.plan(), Scope::All)
        };
        let mut outcome = start(&mut world);
        for _ in 0..2 {
            if outcome.is_err() {
                outcome = start(&mut world);
            }
        }
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
        // The planned failure may still be there: it must not hit the look inside.
        world.kernel.ipvs.fail_after(usize::MAX, || IpvsError::Absent);
        world.kernel.sets.fail_after(usize::MAX, || AddressSetError::Unsupported);
        world.kernel.links.fail_after(usize::MAX, || LinkError::NotPermitted { operation: String::new() });
        world.drain_after(1);
        prop_assert_eq!(world.kernel.state(), fresh(&world));
    }
}

#[test]
fn link_local_addresses_serve_no_node_ports_and_their_coming_costs_no_command() {
    let mut world = World::new();
    world.move_node(&["192.0.2.10", "2001:db8::1", "fe80::1"]);
    let mut web = on_nodes(
        service("web", "10.96.0.1", Protocol::Tcp),
        30_080,
        TrafficPolicy::Cluster,
    );
    web.cluster_ips.push("fd00::1".parse().unwrap());
    world.catalog.set_service(web);
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1"]));
    world.catalog.set_slice(EndpointSlice {
        name: name("web-6"),
        address_type: AddressType::Ipv6,
        ..slice("web", Protocol::Tcp, &["fd00:1::1"])
    });
    world.sync();
    let served = |address: &str| world.kernel.weights(tcp(address, 30_080)).is_some();
    assert!(served("192.0.2.10") && served("2001:db8::1"));
    assert!(!served("fe80::1"));

    let messages = world.messages();
    world.move_node(&["192.0.2.10", "2001:db8::1", "fe80::1", "fe80::2"]);
    world.sync();
    assert_eq!(world.messages(), messages);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}
