#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::MemorySets;
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{Family as IptablesFamily, MemoryIptables, Table, Variant};
use sluice_kernel::ipvs::MemoryIpvs;
use sluice_kernel::links::MemoryLinks;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, NodeFacts, ObjectName, Protocol, Service, ServicePort, Settings,
    SliceEndpoint, SlicePort,
};

use super::*;
use crate::data_plane::DataPlane;
use crate::node_plane::{Doors, MemoryIpvsDoor, NodePlane};

fn too_many() -> AddressSetError {
    AddressSetError::TooMany {
        name: "a set".to_owned(),
    }
}

/// A plane on twins of the kernel, with what it was told.
struct World {
    plane: NodePlane,
    iptables: MemoryIptables,
    /// The affinity sets alone.
    sets: MemorySets,
    catalog: Catalog,
}

impl World {
    fn new() -> Self {
        let iptables = MemoryIptables::new(Variant::Nft);
        let (glue, sets) = (MemorySets::new(), MemorySets::new());
        let doors = Doors {
            iptables: Box::new(iptables.clone()),
            glue_sets: Box::new(glue.clone()),
            affinity_sets: Box::new(sets.clone()),
            conntrack: Box::new(MemoryConntrack::new()),
            ipvs: Box::new(MemoryIpvsDoor {
                ipvs: MemoryIpvs::new(),
                links: MemoryLinks::new(),
                sets: glue,
                families: vec![sluice_kernel::address_set::Family::V4],
            }),
        };
        let mut plane = NodePlane::new(doors, &[IptablesFamily::V4], ActiveMode::IPTables);
        let catalog = Catalog::new(NodeFacts::default(), Settings::default());
        plane.reconcile(catalog.plan()).unwrap();
        Self {
            plane,
            iptables,
            sets,
            catalog,
        }
    }

    /// A service with so many endpoints, whose clients stick for a while where the seconds are told.
    fn serve(&mut self, number: u8, endpoints: u8, affinity_seconds: Option<u32>) {
        self.catalog.set_service(Service {
            cluster_ips: vec![Ipv4Addr::new(10, 96, 0, number).into()],
            affinity_seconds,
            ports: vec![ServicePort {
                name: "".into(),
                protocol: Protocol::Tcp,
                port: 80,
                node_port: None,
            }],
            ..Service::new(name(number))
        });
        let endpoint = |last| SliceEndpoint {
            address: Ipv4Addr::new(10, 244, number, last).into(),
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            zone: None,
            hints: None,
        };
        self.catalog.set_slice(EndpointSlice {
            name: name(number),
            service: format!("s{number}").into(),
            headless: false,
            address_type: AddressType::Ipv4,
            ports: vec![SlicePort {
                name: "".into(),
                protocol: Protocol::Tcp,
                port: 8080,
            }],
            endpoints: (0..endpoints).map(endpoint).collect(),
        });
    }

    fn apply(&mut self) {
        let change = self.catalog.take_changes();
        self.plane.apply(self.catalog.plan(), &change).unwrap();
    }

    /// The sets, and how many buckets each has.
    fn buckets(&self) -> BTreeMap<String, u32> {
        let headers = self.sets.clone().headers("").unwrap();
        let specs = headers.into_iter().map(|header| header.spec);
        specs
            .map(|spec| (spec.name, spec.expected_entries))
            .collect()
    }

    /// How many rules translate to endpoints of a service.
    fn translations(&self, number: u8) -> usize {
        let (family, nat) = (IptablesFamily::V4, Table::Nat);
        let chains = self.iptables.chains(family, nat).into_iter();
        let rules =
            chains.flat_map(|chain| self.iptables.rules(family, nat, &chain).unwrap_or_default());
        let to = format!("--to-destination 10.244.{number}.");
        rules.filter(|rule| rule.contains(&to)).count()
    }
}

fn name(number: u8) -> ObjectName {
    ObjectName::new("default", format!("s{number}"))
}

#[test]
fn the_more_endpoints_a_port_has_the_less_memory_takes_each() {
    let rows = [
        (0, 4096),
        (1, 4096),
        (16, 4096),
        (64, 1024),
        (1024, 64),
        (5000, 64),
    ];
    for (endpoints, want) in rows {
        assert_eq!(buckets(endpoints), want, "{endpoints}");
    }
}

#[test]
fn a_port_that_grows_keeps_the_sets_that_it_has() {
    let mut world = World::new();
    world.serve(1, 16, Some(10));
    world.apply();
    let before = world.buckets();
    assert!(before.values().all(|buckets| *buckets == 4096));
    world.sets.forget_operations();
    world.serve(1, 64, Some(10));
    world.apply();
    let written = world.sets.operations().len();
    assert_eq!(written, 48, "one creation for each new endpoint");
    let after = world.buckets();
    assert_eq!(after.len(), 64);
    assert!(
        before
            .iter()
            .all(|(name, size)| after.get(name) == Some(size))
    );
    assert_eq!(after.values().filter(|size| **size == 1024).count(), 48);
}

#[test]
fn a_port_without_room_for_its_sets_has_no_affinity_and_the_others_change_on() {
    for refused in 0..3 {
        let mut world = World::new();
        world.serve(1, 2, Some(10));
        world.apply();
        world.serve(2, 3, Some(10));
        world.serve(3, 2, None);
        world.sets.fail_after(refused, too_many);
        world.apply();
        assert_eq!(world.buckets().len(), 2, "the first service's");
        for (number, endpoints) in [(1, 2), (2, 3), (3, 2)] {
            assert_eq!(world.translations(number), endpoints, "service {number}");
        }
        let conditions = world.plane.conditions();
        let told = conditions.iter().any(|text| text.contains("default/s2"));
        assert!(told, "{conditions:?}");

        world.serve(2, 4, Some(10));
        world.apply();
        assert_eq!(world.buckets().len(), 6, "there is room again");
        assert_eq!(world.plane.conditions(), Vec::<String>::new());
    }
}

#[test]
fn a_port_that_has_no_room_to_grow_lets_go_of_the_sets_that_it_has() {
    let mut world = World::new();
    world.serve(1, 2, Some(10));
    world.apply();
    world.serve(1, 3, Some(10));
    world.sets.fail_after(0, too_many);
    world.apply();
    assert_eq!(world.buckets().len(), 0);
    assert_eq!(world.translations(1), 3);
    world.plane.reconcile(world.catalog.plan()).unwrap();
    assert_eq!(world.buckets().len(), 3, "a full look tries again");
    assert_eq!(world.plane.conditions(), Vec::<String>::new());
}

#[test]
fn a_timeout_that_cannot_be_changed_for_lack_of_room_ends_the_affinity() {
    let mut world = World::new();
    world.serve(1, 2, Some(10));
    world.apply();
    world.serve(1, 2, Some(60));
    // A copy that is left is destroyed, then the new one made.
    world.sets.fail_after(1, too_many);
    world.apply();
    assert_eq!(world.buckets().len(), 0);
    assert_eq!(world.translations(1), 2);
    assert_eq!(world.plane.conditions().len(), 1);
}

#[test]
fn a_shorter_timeout_forgets_no_client_before_its_time() {
    let mut world = World::new();
    world.serve(1, 1, Some(30));
    world.apply();
    let mut kernel = world.sets.clone();
    let set = kernel.headers("").unwrap().remove(0).spec;
    let client = |last| Entry::Ip(Ipv4Addr::new(192, 0, 2, last).into());
    // Silent for 11, 10 and 3 seconds. Of the second, no more is known than that 20 to 21 are left.
    for (last, silent) in [(1, 11), (2, 10), (3, 3)] {
        kernel
            .add_with_timeout(&set, &[(client(last), 30 - silent)])
            .unwrap();
    }
    world.serve(1, 1, Some(10));
    world.apply();
    let left = kernel.list(&set.name).unwrap().into_iter();
    let left: Vec<_> = left.map(|one| (one.entry, one.timeout_seconds)).collect();
    assert_eq!(left, [(client(2), Some(1)), (client(3), Some(8))]);
}
