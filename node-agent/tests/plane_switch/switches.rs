//! From mode to mode, whatever happens on the way.

use std::time::Instant;

use proptest::prelude::*;
use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::glue::pod_classes::sets_of;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{AddressSets, Entry};
use sluice_kernel::ipvs::{Cause, Change};
use sluice_service_plan::model::{Family, VipBinding};
use sluice_service_plan::plan::Plan;

use crate::cluster::{CLASS, binding, catalog, put, shapes, two_services};
use crate::kernel::{Kernel, drain, fresh};

fn mode() -> impl Strategy<Value = ActiveMode> {
    prop::sample::select(vec![ActiveMode::IPTables, ActiveMode::IPVS])
}

fn other(mode: ActiveMode) -> ActiveMode {
    match mode {
        ActiveMode::IPTables => ActiveMode::IPVS,
        ActiveMode::IPVS => ActiveMode::IPTables,
    }
}

/// How many kernel calls a switch takes.
fn calls_of_switch(from: ActiveMode, plan: &Plan) -> usize {
    let kernel = Kernel::new();
    let mut plane = kernel.plane(from);
    plane.reconcile(plan).unwrap();
    let before = kernel.watch.calls();
    plane.switch(other(from), plan).unwrap();
    kernel.watch.calls() - before
}

#[test]
fn an_endpoint_that_the_kernel_refuses_keeps_no_node_from_ipvs() {
    let catalog = catalog(&two_services(), VipBinding::LocalRoute);
    let switch = |kernel: &Kernel| {
        let mut plane = kernel.plane(ActiveMode::IPTables);
        plane.reconcile(catalog.plan()).unwrap();
        plane.switch(ActiveMode::IPVS, catalog.plan()).unwrap();
        plane
    };
    let model = Kernel::new();
    model.ipvs.forget_changes();
    switch(&model);
    let changes = model.ipvs.changes();
    let is_real_server = |change: &Change| matches!(change, Change::NewDestination(..));
    let kernel = Kernel::new();
    kernel
        .ipvs
        .refuse_after(changes.iter().position(is_real_server).unwrap(), || {
            Cause::BadAddress
        });
    let mut plane = switch(&kernel);
    assert_eq!(plane.mode(), ActiveMode::IPVS);
    assert_ne!(kernel.state(), model.state());
    assert_eq!(plane.verify().unwrap(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn every_path_of_switches_and_changes_ends_where_a_fresh_start_ends(
        shapes in prop::collection::vec(shapes(), 1..4),
        binding in binding(),
        start in mode(),
        steps in prop::collection::vec((mode(), any::<bool>()), 1..5),
    ) {
        let kernel = Kernel::new();
        let mut catalog = catalog(&shapes[0], binding);
        let mut plane = kernel.plane(start);
        let mut now = Instant::now();
        plane.reconcile(catalog.plan()).unwrap();
        for (index, (mode, drained)) in steps.iter().enumerate() {
            // A change may come with the switch, or before it; while it is made, not all of the plan before it is to be served.
            kernel.watch.relax();
            put(&mut catalog, &shapes[index % shapes.len()]);
            let change = catalog.take_changes();
            if index % 2 == 0 {
                plane.apply(catalog.plan(), &change).unwrap();
                kernel.watch.demand(catalog.plan());
            }
            plane.switch(*mode, catalog.plan()).unwrap();
            prop_assert_eq!(kernel.watch.outages(), Vec::<String>::new());
            prop_assert_eq!(plane.verify().unwrap(), vec![]);
            prop_assert_eq!(plane.check().unwrap(), vec![]);
            if *drained {
                drain(&mut plane, &mut now);
                prop_assert_eq!(kernel.state(), fresh(*mode, catalog.plan()));
            }
            kernel.watch.demand(catalog.plan());
        }
        drain(&mut plane, &mut now);
        prop_assert_eq!(kernel.watch.outages(), Vec::<String>::new());
        let last = plane.mode();
        prop_assert_eq!(kernel.state(), fresh(last, catalog.plan()));
        let report = kernel.plane(last).reconcile(catalog.plan()).unwrap();
        prop_assert!(report.is_noop(), "a restart wrote something: {:?}", report);
        prop_assert!(plane.remove().is_empty());
        prop_assert_eq!(kernel.state(), Kernel::new().state());
    }

    #[test]
    fn whoever_cleans_up_later_finds_all_that_any_mode_left(
        shapes in shapes(),
        binding in binding(),
        left in mode(),
    ) {
        let catalog = catalog(&shapes, binding);
        let kernel = Kernel::new();
        kernel.plane(left).reconcile(catalog.plan()).unwrap();
        prop_assert!(kernel.plane(ActiveMode::IPTables).remove().is_empty());
        prop_assert_eq!(kernel.state(), Kernel::new().state());
    }

    #[test]
    fn an_agent_that_dies_at_any_call_of_a_switch_leaves_somebody_serving_and_the_next_one_ends_right(
        shapes in shapes(),
        binding in binding(),
        from in mode(),
        at in 0.0..1.0f64,
        next in mode(),
    ) {
        let catalog = catalog(&shapes, binding);
        let plan = catalog.plan();
        let calls = calls_of_switch(from, plan);
        let kernel = Kernel::new();
        let mut plane = kernel.plane(from);
        plane.reconcile(plan).unwrap();
        kernel.watch.demand(plan);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small number")]
        kernel.watch.die_at((calls as f64 * at) as usize);
        prop_assert!(plane.switch(other(from), plan).is_err());
        drop(plane);
        kernel.watch.live();
        let mut plane = kernel.plane(next);
        plane.reconcile(plan).unwrap();
        prop_assert_eq!(plane.verify().unwrap(), vec![]);
        let mut now = Instant::now();
        drain(&mut plane, &mut now);
        prop_assert_eq!(kernel.watch.outages(), Vec::<String>::new());
        prop_assert_eq!(kernel.state(), fresh(next, plan));
    }

    #[test]
    fn a_switch_in_which_any_call_fails_leaves_the_old_plane_and_no_trace_of_the_new_one_or_serves(
        shapes in shapes(),
        binding in binding(),
        from in mode(),
        at in 0.0..1.0f64,
    ) {
        let catalog = catalog(&shapes, binding);
        let plan = catalog.plan();
        let calls = calls_of_switch(from, plan);
        let kernel = Kernel::new();
        let mut plane = kernel.plane(from);
        plane.reconcile(plan).unwrap();
        kernel.watch.demand(plan);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small number")]
        kernel.watch.fail_at((calls as f64 * at) as usize);
        let result = plane.switch(other(from), plan);
        prop_assert_eq!(kernel.watch.outages(), Vec::<String>::new());
        prop_assert!(result.is_err());
        if plane.mode() == from {
            // What was not ended before the failure was not begun either.
            plane.reconcile(plan).unwrap();
            let mut now = Instant::now();
            drain(&mut plane, &mut now);
            prop_assert_eq!(kernel.state(), fresh(from, plan));
        }
        // Another try gets through.
        plane.switch(other(from), plan).unwrap();
        let mut now = Instant::now();
        drain(&mut plane, &mut now);
        prop_assert_eq!(kernel.watch.outages(), Vec::<String>::new());
        prop_assert_eq!(kernel.state(), fresh(other(from), plan));
    }
}

#[test]
fn pods_of_a_class_are_known_through_switches_and_back() {
    let catalog = catalog(&two_services(), VipBinding::LocalRoute);
    let kernel = Kernel::new();
    let mut plane = kernel.plane(ActiveMode::IPTables);
    plane.reconcile(catalog.plan()).unwrap();
    let sets = sets_of(&catalog.plan().settings, CLASS, Family::V4);
    assert_eq!(sets.len(), 2);
    let pod = Entry::Ip("10.244.0.9".parse().unwrap());
    let mut door = kernel.sets.clone();
    for name in &sets {
        let header = door.headers(name).unwrap().remove(0);
        door.add(&header.spec, &[pod]).unwrap();
    }
    let mut now = Instant::now();
    for mode in [ActiveMode::IPVS, ActiveMode::IPTables] {
        plane.switch(mode, catalog.plan()).unwrap();
        drain(&mut plane, &mut now);
        assert_eq!(plane.verify().unwrap(), []);
        for name in &sets {
            let held = door.list(name).unwrap();
            assert!(held.len() == 1 && held[0].entry == pod, "{mode}: {name}");
        }
        let rules = kernel.state().chains;
        for name in &sets {
            let by = rules.values().flatten().filter(|rule| rule.contains(name));
            assert!(by.count() > 0, "{mode}: no rule goes by {name}");
        }
    }
    assert!(plane.remove().is_empty());
    assert!(door.list(&sets[0]).is_err());
}

#[test]
fn an_error_before_a_switch_is_told_from_one_of_the_switch() {
    let catalog = catalog(&two_services(), VipBinding::LocalRoute);
    let plan = catalog.plan();
    for from in [ActiveMode::IPTables, ActiveMode::IPVS] {
        let calls = calls_of_switch(from, plan);
        let is_told_before = [0, calls / 2].map(|call| {
            let kernel = Kernel::new();
            let mut plane = kernel.plane(from);
            plane.reconcile(plan).unwrap();
            kernel.watch.fail_at(call);
            let error = plane.switch(other(from), plan).unwrap_err();
            matches!(error, DataPlaneError::BeforeSwitch(_))
        });
        assert_eq!(is_told_before, [true, false], "{from}");
    }
}
