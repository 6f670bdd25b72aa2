//! A kernel that holds nothing of ours is given the services first that everybody needs.

use std::sync::Arc;

use sluice_agent::data_plane::DataPlane;
use sluice_agent::node_plane::FirstServices;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{Family, Table};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, ObjectName, Protocol, Service, ServicePort, SliceEndpoint,
    SlicePort, VipBinding,
};
use sluice_service_plan::plan::Plan;

use crate::cluster::{catalog, put, two_services};
use crate::kernel::{Kernel, fresh};

const MODES: [ActiveMode; 2] = [ActiveMode::IPTables, ActiveMode::IPVS];

/// Many services, the API server's and cluster DNS among them.
fn many() -> Catalog {
    let mut catalog = catalog(&[], VipBinding::LocalRoute);
    let shapes: Vec<_> = two_services().into_iter().cycle().take(210).collect();
    put(&mut catalog, &shapes);
    for (namespace, name, ip, protocol) in [
        ("default", "kubernetes", "10.97.0.1", Protocol::Tcp),
        ("kube-system", "kube-dns", "10.97.0.10", Protocol::Udp),
    ] {
        let port: Arc<str> = Arc::from("p");
        catalog.set_service(Service {
            cluster_ips: vec![ip.parse().unwrap()],
            ports: vec![ServicePort {
                name: Arc::clone(&port),
                protocol,
                port: 53,
                node_port: None,
            }],
            ..Service::new(ObjectName::new(namespace, name))
        });
        catalog.set_slice(EndpointSlice {
            name: ObjectName::new(namespace, format!("{name}-a")),
            service: Arc::from(name),
            headless: false,
            address_type: AddressType::Ipv4,
            ports: vec![SlicePort {
                name: port,
                protocol,
                port: 1053,
            }],
            endpoints: vec![SliceEndpoint {
                node: Some(Arc::from("here")),
                ..SliceEndpoint::new("10.244.0.53".parse().unwrap())
            }],
        });
    }
    catalog.take_changes();
    catalog
}

fn first_of(plan: &Plan) -> Plan {
    let first = FirstServices::default().of(plan).unwrap();
    assert_eq!(first.services.len(), 2);
    first
}

/// How many kernel calls a first program takes.
fn calls(mode: ActiveMode, plan: &Plan) -> usize {
    let kernel = Kernel::new();
    kernel.plane(mode).reconcile(plan).unwrap();
    kernel.watch.calls()
}

#[test]
fn at_a_cold_start_the_first_services_are_served_whole_before_the_kernel_knows_any_other() {
    let catalog = many();
    let (plan, first) = (catalog.plan(), first_of(catalog.plan()));
    for mode in MODES {
        let kernel = Kernel::new();
        kernel.watch.die_at(calls(mode, &first));
        assert!(kernel.plane(mode).reconcile(plan).is_err());
        let mut expected = fresh(mode, &first);
        // What comes to the node itself is refused when all are served.
        let inputs = expected.chains.iter_mut();
        for (_, rules) in inputs.filter(|((_, _, chain), _)| chain == "INPUT") {
            rules.retain(|rule| mode == ActiveMode::IPVS || !rule.ends_with("SLUICE-INPUT"));
        }
        assert_eq!(kernel.state(), expected, "{mode}");
    }
}

#[test]
fn a_cold_start_in_two_steps_ends_where_one_step_ends() {
    let catalog = many();
    for mode in MODES {
        let kernel = Kernel::new();
        kernel.plane(mode).reconcile(&Plan::default()).unwrap();
        kernel.plane(mode).reconcile(catalog.plan()).unwrap();
        assert_eq!(kernel.state(), fresh(mode, catalog.plan()), "{mode}");
    }
}

#[test]
fn where_the_kernel_holds_anything_of_ours_no_service_comes_before_another() {
    let catalog = many();
    let (plan, first) = (catalog.plan(), first_of(catalog.plan()));
    for mode in MODES {
        // Everything: nothing is written, and nothing is taken away meanwhile.
        let kernel = Kernel::new();
        kernel.plane(mode).reconcile(plan).unwrap();
        kernel.watch.demand(plan);
        let mut plane = kernel.plane(mode);
        let report = plane.reconcile(plan).unwrap();
        assert!(report.is_noop(), "{mode}: {report:?}");
        assert_eq!(kernel.watch.outages(), Vec::<String>::new(), "{mode}");

        // Very little: sets that a dead agent made.
        let kernel = Kernel::new();
        kernel.watch.die_at(calls(mode, &Plan::default()) / 2);
        assert!(kernel.plane(mode).reconcile(&Plan::default()).is_err());
        kernel.watch.live();
        let before = kernel.watch.calls();
        kernel.plane(mode).reconcile(&first).unwrap();
        let calls_for_first = kernel.watch.calls() - before;

        let kernel = Kernel::new();
        kernel.watch.die_at(calls(mode, &Plan::default()) / 2);
        assert!(kernel.plane(mode).reconcile(&Plan::default()).is_err());
        kernel.watch.live();
        kernel.watch.die_at(calls_for_first);
        assert!(kernel.plane(mode).reconcile(plan).is_err());
        assert_ne!(kernel.state(), fresh(mode, &first), "{mode}");
    }
}

#[test]
fn services_that_a_plane_programmed_outlive_the_loss_of_all_that_marks_them_as_ours() {
    let catalog = many();
    let kernel = Kernel::new();
    let mut plane = kernel.plane(ActiveMode::IPVS);
    plane.reconcile(catalog.plan()).unwrap();
    let servers = kernel.state().servers;
    kernel.lose_rules_and_sets();
    let before = kernel.watch.calls();
    plane.reconcile(catalog.plan()).unwrap();
    let calls = kernel.watch.calls() - before;

    // What IPVS holds goes on at every moment.
    for call in (0..calls).step_by((calls / 40).max(1)) {
        kernel.lose_rules_and_sets();
        kernel.watch.die_at(call);
        let _ = plane.reconcile(catalog.plan());
        assert_eq!(kernel.state().servers, servers, "at call {call}");
        kernel.watch.live();
        plane.reconcile(catalog.plan()).unwrap();
    }
}

#[test]
fn an_agent_that_dies_at_any_call_of_a_cold_start_is_replaced_by_one_that_ends_right() {
    let catalog = many();
    let (plan, first) = (catalog.plan(), first_of(catalog.plan()));
    for mode in MODES {
        let (end, all) = (fresh(mode, plan), calls(mode, plan));
        let between = calls(mode, &first);
        let near = between.saturating_sub(6)..between + 6;
        let everywhere = (0..all).step_by((all / 40).max(1));
        for call in everywhere.chain(near) {
            let kernel = Kernel::new();
            kernel.watch.die_at(call);
            assert!(kernel.plane(mode).reconcile(plan).is_err());
            kernel.watch.live();
            let mut plane = kernel.plane(mode);
            plane.reconcile(plan).unwrap();
            assert_eq!(kernel.state(), end, "{mode}: dead at call {call}");
            assert_eq!(plane.verify().unwrap(), vec![], "{mode}: call {call}");
        }
    }
}

/// Families in which what comes to the node itself is refused, though nothing leads to the tree.
fn refused_too_early(kernel: &Kernel) -> Vec<Family> {
    let leads = |family, table, from, to| {
        let rules = kernel.iptables.rules(family, table, from);
        rules.unwrap_or_default().iter().any(|r| r.ends_with(to))
    };
    let too_early = |family: &Family| {
        leads(*family, Table::Filter, "INPUT", "SLUICE-INPUT")
            && !leads(*family, Table::Nat, "PREROUTING", "SLUICE-SERVICES")
    };
    let families = [Family::V4, Family::V6].into_iter();
    families.filter(too_early).collect()
}

#[test]
fn nothing_is_refused_before_the_tree_serves_also_after_a_first_attempt_that_died() {
    let catalog = catalog(&two_services(), VipBinding::LocalRoute);
    let (mode, plan) = (ActiveMode::IPTables, catalog.plan());
    let all = calls(mode, plan);
    for first in 0..all {
        for second in (first % 4..all).step_by(4) {
            let kernel = Kernel::new();
            for call in [first, second] {
                kernel.watch.die_at(call);
                let _ = kernel.plane(mode).reconcile(plan);
                kernel.watch.live();
                let refused = refused_too_early(&kernel);
                assert_eq!(refused, [], "dead at call {first}, then at {second}");
            }
        }
    }
}
