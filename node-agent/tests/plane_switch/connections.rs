//! Connections that IPVS has when its time is over.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sluice_agent::data_plane::{DataPlane, Drain};
use sluice_agent::node_plane::NodePlane;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{Family, IpProtocol};
use sluice_kernel::conntrack::{Flow, Tuple};
use sluice_kernel::ipvs::{ConnectionCounts, RealServer, VirtualServer};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, NodePortAddresses, ObjectName, Protocol, Settings, SliceEndpoint,
    SlicePort, VipBinding,
};

use crate::cluster::{catalog, two_services};
use crate::kernel::{Kernel, fresh};

const VIP: [u8; 4] = [10, 96, 0, 1];
const POD: [u8; 4] = [10, 244, 1, 1];
const CLIENT: [u8; 4] = [192, 0, 2, 50];

struct World {
    kernel: Kernel,
    plane: NodePlane,
    catalog: Catalog,
    now: Instant,
}

impl World {
    /// A node that went from IPVS to iptables rules while a client had a TCP connection.
    fn switched() -> Self {
        let kernel = Kernel::new();
        let catalog = catalog(&two_services(), VipBinding::LocalRoute);
        let mut plane = kernel.plane(ActiveMode::IPVS);
        plane.reconcile(catalog.plan()).unwrap();
        let world = Self {
            kernel,
            plane,
            catalog,
            now: Instant::now(),
        };
        world.set_connections(1);
        let mut world = world;
        let plan = world.catalog.plan().clone();
        world.plane.switch(ActiveMode::IPTables, &plan).unwrap();
        world
    }

    fn set_connections(&self, active: u32) {
        let counts = ConnectionCounts {
            active,
            ..ConnectionCounts::default()
        };
        let pod = RealServer::new(POD.into(), 8080);
        self.kernel.ipvs.set_connection_counts(&vip(), &pod, counts);
    }

    fn drain_after(&mut self, seconds: u64, timeout: Option<u64>) {
        self.now += Duration::from_secs(seconds);
        let drain = Drain {
            now: self.now,
            timeout: timeout.map(Duration::from_secs),
        };
        self.plane.drain(drain).unwrap();
    }

    fn serves_the_connection(&self) -> bool {
        let state = self.kernel.state();
        let bound = format!("route {}/32", IpAddr::from(VIP));
        state.servers.contains_key(&vip()) && state.bound.iter().any(|b| b.starts_with(&bound))
    }

    fn is_as_fresh(&self) -> bool {
        self.kernel.state() == fresh(ActiveMode::IPTables, self.catalog.plan())
    }
}

fn vip() -> VirtualServer {
    VirtualServer::new(IpProtocol::TCP, VIP.into(), 80)
}

fn flow(protocol: IpProtocol, original: [([u8; 4], u16); 2], reply: [([u8; 4], u16); 2]) -> Flow {
    let tuple =
        |[(source, source_port), (destination, destination_port)]: [([u8; 4], u16); 2]| Tuple {
            source: source.into(),
            destination: destination.into(),
            source_port,
            destination_port,
        };
    Flow {
        family: Family::V4,
        protocol,
        original: tuple(original),
        reply: tuple(reply),
        zone: 0,
        destination_translated: false,
        source_translated: false,
    }
}

#[test]
fn a_connection_keeps_its_virtual_server_and_address_until_it_ends() {
    let mut world = World::switched();
    for _ in 0..5 {
        world.drain_after(1000, None);
        assert!(world.serves_the_connection());
        assert!(world.plane.uses_ipvs());
    }
    world.set_connections(0);
    world.drain_after(5, None);
    world.drain_after(5, None);
    assert!(!world.plane.uses_ipvs());
    assert!(world.is_as_fresh());
}

#[test]
fn a_drain_timeout_cuts_it() {
    let mut world = World::switched();
    world.drain_after(5, Some(60));
    world.drain_after(50, Some(60));
    assert!(world.serves_the_connection());
    world.drain_after(60, Some(60));
    world.drain_after(5, Some(60));
    assert!(!world.plane.uses_ipvs());
    assert!(world.is_as_fresh());
}

#[test]
fn a_connection_outlives_a_restart_and_a_switch_back() {
    let mut world = World::switched();
    world.drain_after(5, None);
    let plan = world.catalog.plan().clone();
    world.plane = world.kernel.plane(ActiveMode::IPTables);
    let report = world.plane.reconcile(&plan).unwrap();
    assert!(report.is_noop(), "{report:?}");
    world.drain_after(5, None);
    assert!(world.serves_the_connection());
    world.plane.switch(ActiveMode::IPVS, &plan).unwrap();
    assert_eq!(world.kernel.state(), fresh(ActiveMode::IPVS, &plan));
    world.plane.switch(ActiveMode::IPTables, &plan).unwrap();
    world.drain_after(5, None);
    assert!(world.serves_the_connection());
}

#[test]
fn a_switch_that_fails_keeps_the_connections_that_an_earlier_one_left() {
    let mut world = World::switched();
    world.drain_after(5, None);
    let plan = world.catalog.plan().clone();
    let before = world.kernel.state();
    let calls = {
        let copy = World::switched();
        let first = copy.kernel.watch.calls();
        let mut plane = copy.plane;
        plane.switch(ActiveMode::IPVS, &plan).unwrap();
        copy.kernel.watch.calls() - first
    };
    for call in (0..calls).step_by(4) {
        world.kernel.watch.fail_at(call);
        let failed = world.plane.switch(ActiveMode::IPVS, &plan).is_err();
        world.kernel.watch.live();
        assert!(world.serves_the_connection(), "after a failure at {call}");
        if world.plane.mode() == ActiveMode::IPVS {
            world.plane.switch(ActiveMode::IPTables, &plan).unwrap();
        } else if failed {
            world.plane.reconcile(&plan).unwrap();
        }
        world.drain_after(5, None);
        assert!(world.serves_the_connection(), "after a failure at {call}");
        assert_eq!(world.kernel.state(), before, "after a failure at {call}");
    }
}

#[test]
fn flows_without_end_lose_their_entries_when_ipvs_goes() {
    let mut world = World::switched();
    let (client, pod) = ((CLIENT, 4000), (POD, 8080));
    let udp_vip = ([10, 96, 0, 2], 80);
    let by_request = flow(IpProtocol::UDP, [client, udp_vip], [pod, client]);
    let by_answer = flow(IpProtocol::UDP, [pod, client], [client, udp_vip]);
    let at_node_port = flow(
        IpProtocol::UDP,
        [client, ([192, 0, 2, 10], 30_002)],
        [pod, client],
    );
    let mut by_rules = flow(
        IpProtocol::UDP,
        [(CLIENT, 4001), udp_vip],
        [pod, (CLIENT, 4001)],
    );
    by_rules.destination_translated = true;
    let foreign = flow(
        IpProtocol::UDP,
        [client, ([198, 51, 100, 77], 53)],
        [([198, 51, 100, 78], 53), client],
    );
    // Masquerading took the number of a node port.
    let mut masked = flow(
        IpProtocol::UDP,
        [(POD, 41_000), ([198, 51, 100, 9], 443)],
        [([198, 51, 100, 9], 443), ([192, 0, 2, 10], 30_002)],
    );
    masked.source_translated = true;
    for flow in [
        by_request,
        by_answer,
        at_node_port,
        by_rules,
        foreign,
        masked,
    ] {
        world.kernel.conntrack.insert(flow);
    }
    world.drain_after(5, None);
    assert_eq!(world.kernel.conntrack.flows().len(), 6);
    world.set_connections(0);
    world.drain_after(5, None);
    // IPVS is there still: no datagram is lost.
    assert!(world.plane.uses_ipvs());
    assert_eq!(world.kernel.conntrack.flows(), [by_rules, foreign, masked]);
    // An answer that was under way made an entry.
    world.kernel.conntrack.insert(by_answer);
    world.drain_after(5, None);
    assert!(!world.plane.uses_ipvs());
    assert_eq!(world.kernel.conntrack.flows(), [by_rules, foreign, masked]);
}

/// The slice of the UDP service.
fn udp_slice(endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("default", "s2-Ipv4"),
        service: "s2".into(),
        headless: false,
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort {
            name: "p".into(),
            protocol: Protocol::Udp,
            port: 8080,
        }],
        endpoints,
    }
}

#[test]
fn a_flow_without_end_stays_with_an_endpoint_that_serves_unless_ipvs_has_it() {
    let other = SliceEndpoint::new([10, 244, 1, 4].into());
    let draining = SliceEndpoint {
        ready: false,
        terminating: true,
        ..SliceEndpoint::new(POD.into())
    };
    for mode in [ActiveMode::IPTables, ActiveMode::IPVS] {
        let kernel = Kernel::new();
        let mut catalog = catalog(&two_services(), VipBinding::LocalRoute);
        let mut plane = kernel.plane(mode);
        plane.reconcile(catalog.plan()).unwrap();
        plane.tally();
        let by_rules = mode == ActiveMode::IPTables;
        let ends = [(CLIENT, 4000), ([10, 96, 0, 2], 80)];
        let mut sent = flow(IpProtocol::UDP, ends, [(POD, 8080), ends[0]]);
        sent.destination_translated = by_rules;
        kernel.conntrack.insert(sent);
        let mut serve = |plane: &mut NodePlane, endpoints| {
            catalog.set_slice(udp_slice(endpoints));
            let change = catalog.take_changes();
            plane.apply(catalog.plan(), &change).unwrap();
        };
        serve(&mut plane, vec![draining.clone(), other.clone()]);
        let has_looked = !plane.tally().flow_looks.is_empty();
        assert_eq!(has_looked, !by_rules, "{mode}");
        let is_kept = kernel.conntrack.flows().contains(&sent);
        assert_eq!(is_kept, by_rules, "{mode}");
        plane.check().unwrap();
        assert_eq!(kernel.conntrack.flows().len(), usize::from(by_rules));
        serve(&mut plane, vec![other.clone()]);
        assert_eq!(kernel.conntrack.flows(), [], "{mode}");
    }
}

/// A node's way to another address that serves node ports.
type Change<'a> = &'a dyn Fn(&mut Catalog);

#[test]
fn what_was_sent_to_a_node_port_before_its_address_served_any_is_led_to_it() {
    let node_with = |node_ports: NodePortAddresses| {
        let kernel = Kernel::new();
        let mut catalog = catalog(&two_services(), VipBinding::LocalRoute);
        let settings = catalog.plan().settings.as_ref().clone();
        catalog.set_settings(Settings {
            node_port_addresses: node_ports,
            ..settings
        });
        catalog.take_changes();
        (kernel, catalog)
    };
    let with_address = |catalog: &mut Catalog, ip: &str| {
        let mut node = catalog.plan().node.as_ref().clone();
        node.addresses.push(ip.parse().unwrap());
        catalog.set_node(node);
    };
    let moved_here = |catalog: &mut Catalog| with_address(catalog, "192.0.2.77");
    let served_now = |catalog: &mut Catalog| {
        let settings = catalog.plan().settings.as_ref().clone();
        catalog.set_settings(Settings {
            node_port_addresses: NodePortAddresses::All,
            ..settings
        });
    };
    let serving = NodePortAddresses::Cidrs(vec!["192.0.2.77/32".parse().unwrap()]);
    let elsewhere = NodePortAddresses::Cidrs(vec!["198.51.100.0/24".parse().unwrap()]);
    let rows: [(NodePortAddresses, Change<'_>, [u8; 4], bool); 4] = [
        (serving, &moved_here, [192, 0, 2, 77], true),
        (elsewhere.clone(), &moved_here, [192, 0, 2, 77], false),
        (elsewhere, &served_now, [192, 0, 2, 10], true),
        (
            NodePortAddresses::All,
            &|catalog| with_address(catalog, "fe80::77"),
            [192, 0, 2, 10],
            false,
        ),
    ];
    for mode in [ActiveMode::IPTables, ActiveMode::IPVS] {
        for (n, (node_ports, change, address, is_led)) in rows.iter().enumerate() {
            let (kernel, mut catalog) = node_with(node_ports.clone());
            let mut plane = kernel.plane(mode);
            plane.reconcile(catalog.plan()).unwrap();
            plane.tally();
            let untranslated = |port| {
                let ends = [(CLIENT, 4000), (*address, port)];
                flow(IpProtocol::UDP, ends, [ends[1], ends[0]])
            };
            let (sent, other) = (untranslated(30_002), untranslated(53));
            kernel.conntrack.insert(sent);
            kernel.conntrack.insert(other);
            change(&mut catalog);
            let change = catalog.take_changes();
            let report = plane.apply(catalog.plan(), &change).unwrap();
            assert_eq!(report.flows_deleted, u64::from(*is_led), "{mode} {n}");
            assert_eq!(plane.tally().flow_looks.is_empty(), !is_led, "{mode} {n}");
            // An answer that was under way made an entry once more.
            kernel.conntrack.insert(sent);
            plane.check().unwrap();
            let left = kernel.conntrack.flows();
            assert!(left.contains(&other), "{mode} {n}: {left:?}");
            assert_eq!(left.contains(&sent), !is_led, "{mode} {n}: {left:?}");
        }
    }
}
