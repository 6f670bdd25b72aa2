//! Random changes through the iptables data plane on in-memory kernels: every path to a plan ends in the same kernel state, and a
//! run that dies at any kernel call is brought there by the next.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a step that fails is a test that fails

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use sluice_agent::data_plane::DataPlane;
use sluice_agent::glue::pod_classes::sets_of;
use sluice_agent::node_plane::{Doors, MemoryIpvsDoor, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, Family, MemorySets};
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{IptablesError, MemoryIptables, Operation, Table, Variant};
use sluice_kernel::ipvs::MemoryIpvs;
use sluice_kernel::links::MemoryLinks;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, LocalDetector, NodeFacts, ObjectName, PodAction, PodClass,
    Protocol, Service, ServicePort, ServiceType, Settings, SliceEndpoint, SlicePort, TrafficPolicy,
};

/// A change of the cluster.
#[derive(Debug, Clone)]
enum Step {
    Service(u8, Shape),
    Remove(u8),
    Endpoints(u8, Vec<u8>),
    Settings(u8),
    Address(bool),
}

#[derive(Debug, Clone)]
struct Shape {
    kind: u8,
    ports: u8,
    external: bool,
    local: bool,
    affinity: Option<u32>,
    ranges: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let affinity = prop::option::of(prop::sample::select(vec![10u32, 60]));
    (
        0..3u8,
        1..4u8,
        any::<bool>(),
        any::<bool>(),
        affinity,
        any::<bool>(),
    )
        .prop_map(|(kind, ports, external, local, affinity, ranges)| Shape {
            kind,
            ports,
            external,
            local,
            affinity,
            ranges,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..40u8, shape()).prop_map(|(n, shape)| Step::Service(n, shape)),
        3 => (0..40u8).prop_map(Step::Remove),
        6 => (0..40u8, prop::collection::vec(0..60u8, 0..45)).prop_map(|(n, list)| Step::Endpoints(n, list)),
        2 => (0..12u8).prop_map(Step::Settings),
        1 => any::<bool>().prop_map(Step::Address),
    ]
}

fn name(n: u8) -> ObjectName {
    ObjectName::new("default", format!("s{n}"))
}

fn service(n: u8, shape: &Shape) -> Service {
    let kind = [
        ServiceType::ClusterIp,
        ServiceType::NodePort,
        ServiceType::LoadBalancer,
    ][usize::from(shape.kind)];
    let policy = if shape.local {
        TrafficPolicy::Local
    } else {
        TrafficPolicy::Cluster
    };
    Service {
        name: name(n),
        created: i64::from(n % 7),
        labels: BTreeMap::new(),
        kind,
        cluster_ips: vec![
            Ipv4Addr::new(10, 96, n % 5, n).into(),
            format!("fd00:10:96::{n:x}").parse().unwrap(),
        ],
        // Few, so that services quarrel over them.
        external_ips: if shape.external {
            vec![Ipv4Addr::new(198, 51, 100, n % 3).into()]
        } else {
            Vec::new()
        },
        load_balancer_ips: if shape.kind == 2 {
            vec![Ipv4Addr::new(203, 0, 113, n).into()]
        } else {
            Vec::new()
        },
        source_ranges: if shape.ranges {
            vec!["192.0.2.0/25".parse().unwrap()]
        } else {
            Vec::new()
        },
        internal_policy: TrafficPolicy::Cluster,
        external_policy: policy,
        affinity_seconds: shape.affinity,
        health_check_port: None,
        ports: (0..shape.ports)
            .map(|p| ServicePort {
                name: Arc::from(format!("p{p}")),
                protocol: Protocol::ALL[usize::from(p % 3)],
                port: 80 + u16::from(p),
                node_port: (shape.kind > 0).then(|| 30_000 + u16::from(n) * 4 + u16::from(p)),
            })
            .collect(),
    }
}

fn slice(n: u8, endpoints: &[u8]) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("default", format!("s{n}-a")),
        service: Arc::from(format!("s{n}")),
        headless: false,
        address_type: AddressType::Ipv4,
        ports: (0..3)
            .map(|p| SlicePort {
                name: Arc::from(format!("p{p}")),
                protocol: Protocol::ALL[p],
                port: 8080,
            })
            .collect(),
        endpoints: endpoints
            .iter()
            .map(|e| SliceEndpoint {
                address: Ipv4Addr::new(10, 244, e % 3, *e).into(),
                ready: e % 11 != 0,
                serving: true,
                terminating: e % 11 == 0,
                node: Some(Arc::from(if e % 3 == 0 { "here" } else { "there" })),
                zone: None,
                hints: None,
            })
            .collect(),
    }
}

fn node(second: bool) -> NodeFacts {
    let mut addresses: Vec<IpAddr> =
        vec!["127.0.0.1".parse().unwrap(), "192.0.2.10".parse().unwrap()];
    if second {
        addresses.push("192.0.2.11".parse().unwrap());
    }
    NodeFacts {
        name: Arc::from("here"),
        internal_ips: vec!["192.0.2.10".parse().unwrap()],
        addresses,
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        ..NodeFacts::default()
    }
}

fn settings(n: u8) -> Settings {
    let detect_local = match n % 3 {
        0 => LocalDetector::Cidrs(vec!["10.244.0.0/24".parse().unwrap()]),
        1 => LocalDetector::BridgeInterface("cni0".to_owned()),
        _ => LocalDetector::None,
    };
    let class = |name: &str, action, egress| PodClass {
        name: name.into(),
        action,
        egress,
        out_interface: None,
    };
    let snat = PodAction::Snat(vec!["192.0.2.11/32".parse().unwrap()]);
    let classes = [
        class("keep", PodAction::Preserve, false),
        class("hide", PodAction::Masquerade, true),
        class("second", snat, false),
    ];
    Settings {
        detect_local,
        pod_classes: classes.into_iter().take(usize::from(n / 3)).collect(),
        ..Settings::default()
    }
}

fn take(catalog: &mut Catalog, step: &Step) {
    match step {
        Step::Service(n, shape) => catalog.set_service(service(*n, shape)),
        Step::Remove(n) => catalog.remove_service(&name(*n)),
        Step::Endpoints(n, endpoints) => catalog.set_slice(slice(*n, endpoints)),
        Step::Settings(n) => catalog.set_settings(settings(*n)),
        Step::Address(second) => catalog.set_node(node(*second)),
    }
}

/// One in-memory kernel and handles to look inside.
struct Kernel {
    iptables: MemoryIptables,
    sets: MemorySets,
}

type State = (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<Entry>>);

impl Kernel {
    fn new() -> Self {
        Self {
            iptables: MemoryIptables::new(Variant::Nft),
            sets: MemorySets::new(),
        }
    }

    fn plane(&self) -> NodePlane {
        let doors = Doors {
            iptables: Box::new(self.iptables.clone()),
            glue_sets: Box::new(self.sets.clone()),
            affinity_sets: Box::new(self.sets.clone()),
            conntrack: Box::new(MemoryConntrack::new()),
            ipvs: Box::new(MemoryIpvsDoor {
                ipvs: MemoryIpvs::new(),
                links: MemoryLinks::new(),
                sets: self.sets.clone(),
                families: vec![Family::V4, Family::V6],
            }),
        };
        NodePlane::new(doors, &[Family::V4, Family::V6], ActiveMode::IPTables)
    }

    fn state(&self) -> State {
        let mut chains = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            for table in [Table::Filter, Table::Nat] {
                for chain in self.iptables.chains(family, table) {
                    let rules = self
                        .iptables
                        .rules(family, table, &chain)
                        .unwrap_or_default();
                    chains.insert(format!("{family:?} {table} {chain}"), rules);
                }
            }
        }
        let mut door = self.sets.clone();
        let mut sets = BTreeMap::new();
        for header in door.headers("").unwrap() {
            let mut entries: Vec<Entry> = door
                .list(&header.spec.name)
                .unwrap()
                .iter()
                .map(|e| e.entry)
                .collect();
            entries.sort_unstable();
            sets.insert(header.spec.name, entries);
        }
        (chains, sets)
    }
}

fn fresh(catalog: &Catalog) -> State {
    let kernel = Kernel::new();
    kernel.plane().reconcile(catalog.plan()).unwrap();
    kernel.state()
}

fn is_clean((chains, sets): &State) -> bool {
    let rules_gone = chains.values().all(Vec::is_empty);
    rules_gone && chains.keys().all(|chain| !chain.contains("SLUICE")) && sets.is_empty()
}

fn ends_where_a_fresh_start_ends(steps: &[Step]) -> Result<(), TestCaseError> {
    let kernel = Kernel::new();
    let mut plane = kernel.plane();
    let mut catalog = Catalog::new(node(false), settings(0));
    catalog.take_changes();
    plane.reconcile(catalog.plan()).unwrap();
    for (index, step) in steps.iter().enumerate() {
        take(&mut catalog, step);
        // Some changes come alone, some in bursts.
        if index % 3 == 2 {
            continue;
        }
        let change = catalog.take_changes();
        plane.apply(catalog.plan(), &change).unwrap();
        // The twins do not know which rules refer to which sets.
        let mut drifts = plane.verify().unwrap();
        drifts.retain(|drift| drift.what != "is used by no rule");
        prop_assert_eq!(drifts, vec![]);
    }
    let change = catalog.take_changes();
    plane.apply(catalog.plan(), &change).unwrap();
    prop_assert_eq!(kernel.state(), fresh(&catalog));

    let report = kernel.plane().reconcile(catalog.plan()).unwrap();
    prop_assert!(report.is_noop(), "a restart wrote something: {:?}", report);

    prop_assert!(plane.remove().is_empty());
    prop_assert!(
        is_clean(&kernel.state()),
        "left behind: {:?}",
        kernel.state()
    );
    Ok(())
}

#[test]
fn the_chain_of_a_class_goes_with_the_address_that_it_translates_to() {
    let steps = [
        Step::Address(true),
        Step::Settings(10),
        // Together with what follows.
        Step::Address(false),
        Step::Settings(9),
    ];
    ends_where_a_fresh_start_ends(&steps).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_ends_where_a_fresh_start_ends(steps in prop::collection::vec(step(), 1..40)) {
        ends_where_a_fresh_start_ends(&steps)?;
    }

    #[test]
    fn an_agent_that_dies_at_any_kernel_call_is_replaced_by_one_that_ends_right(
        steps in prop::collection::vec(step(), 1..12),
        last in prop::collection::vec(step(), 1..6),
        set_calls in 0..30usize,
        restores in 0..3usize,
        tables in 0..2usize,
    ) {
        let kernel = Kernel::new();
        let mut catalog = Catalog::new(node(false), settings(0));
        for step in &steps {
            take(&mut catalog, step);
        }
        catalog.take_changes();
        let mut plane = kernel.plane();
        plane.reconcile(catalog.plan()).unwrap();
        for step in &last {
            take(&mut catalog, step);
        }
        let change = catalog.take_changes();
        let died = IptablesError::TimedOut { program: "iptables-restore".to_owned(), seconds: 1 };
        kernel.sets.fail_after(set_calls, || AddressSetError::Unsupported);
        kernel.iptables.fail_after(Operation::Restore, restores, tables, died);
        let _ = plane.apply(catalog.plan(), &change);
        drop(plane);
        // Failures that are left hit the next starts; each gets further, in the end one gets through.
        let mut last_error = None;
        for _ in 0..4 {
            last_error = kernel.plane().reconcile(catalog.plan()).err();
            if last_error.is_none() {
                break;
            }
        }
        prop_assert!(last_error.is_none(), "{:?}", last_error);
        prop_assert_eq!(kernel.state(), fresh(&catalog));
    }
}

/// Entries of all sets that tell pods of a class.
fn pods(kernel: &Kernel) -> BTreeMap<String, Vec<Entry>> {
    let (_, mut sets) = kernel.state();
    sets.retain(|name, _| name.contains("-POD-"));
    sets
}

#[test]
fn what_others_put_into_the_sets_of_classes_stays_as_long_as_the_sets() {
    let kernel = Kernel::new();
    let mut plane = kernel.plane();
    let mut catalog = Catalog::new(node(false), settings(9));
    catalog.take_changes();
    plane.reconcile(catalog.plan()).unwrap();

    let mut door = kernel.sets.clone();
    let pod = Entry::Ip(Ipv4Addr::new(10, 244, 0, 9).into());
    for class in ["keep", "hide", "second"] {
        for name in sets_of(
            &catalog.plan().settings,
            class,
            sluice_service_plan::model::Family::V4,
        ) {
            let header = door.headers(&name).unwrap().remove(0);
            door.add(&header.spec, &[pod]).unwrap();
        }
    }
    let filled = pods(&kernel);
    let number = filled.values().filter(|entries| **entries == [pod]).count();
    assert_eq!((filled.len(), number), (8, 4), "{filled:?}");

    assert_eq!(plane.check().unwrap(), []);
    assert_eq!(plane.verify().unwrap(), []);
    take(&mut catalog, &Step::Address(true));
    let change = catalog.take_changes();
    plane.apply(catalog.plan(), &change).unwrap();
    plane.reconcile(catalog.plan()).unwrap();
    let report = kernel.plane().reconcile(catalog.plan()).unwrap();
    assert!(report.is_noop(), "{report:?}");
    assert_eq!(pods(&kernel), filled);

    // Without classes, only what is always there.
    take(&mut catalog, &Step::Settings(0));
    let change = catalog.take_changes();
    plane.apply(catalog.plan(), &change).unwrap();
    let left = pods(&kernel);
    let names: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "SLUICE-4-POD-MASQ",
            "SLUICE-4-POD-PRESERVE",
            "SLUICE-6-POD-MASQ",
            "SLUICE-6-POD-PRESERVE"
        ]
    );
    assert_eq!(left["SLUICE-4-POD-MASQ"], [pod]);
}
