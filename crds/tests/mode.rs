//! Which data plane a node runs.

use proptest::prelude::*;
use sluice_crds::v1alpha1::{ActiveMode, AutoMode, Mode, ServiceProxyPolicySpec};

const MODES: [Option<ActiveMode>; 3] = [None, Some(ActiveMode::IPTables), Some(ActiveMode::IPVS)];

fn policy(mode: Mode) -> ServiceProxyPolicySpec {
    ServiceProxyPolicySpec {
        mode,
        ..ServiceProxyPolicySpec::default()
    }
}

#[test]
fn auto_changes_outside_the_band_only() {
    use ActiveMode::{IPTables, IPVS};
    let rule = policy(Mode::Auto).mode_rule();
    let rows = [
        (0, [IPTables; 3]),
        (799, [IPTables; 3]),
        (800, [IPTables, IPTables, IPVS]),
        (1000, [IPTables, IPTables, IPVS]),
        (1001, [IPVS; 3]),
        (usize::MAX, [IPVS; 3]),
    ];
    for (services, expected) in rows {
        let modes = MODES.map(|current| rule.mode_for(services, current, true));
        assert_eq!(modes, expected, "{services} services");
    }
}

#[test]
fn a_mode_that_is_asked_for_does_not_depend_on_size_or_past() {
    for services in [0, 900, 100_000] {
        for current in MODES {
            let mode = |mode| policy(mode).mode_rule().mode_for(services, current, true);
            assert_eq!(mode(Mode::IPTables), ActiveMode::IPTables);
            assert_eq!(mode(Mode::IPVS), ActiveMode::IPVS);
        }
    }
}

#[test]
fn a_mode_is_shown_as_a_policy_names_it() {
    for mode in [ActiveMode::IPTables, ActiveMode::IPVS] {
        let written = serde_json::to_value(mode).unwrap();
        assert_eq!(written, mode.to_string());
        assert!(serde_json::from_value::<Mode>(written).is_ok());
    }
}

fn modes() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Auto, Mode::IPTables, Mode::IPVS])
}

fn currents() -> impl Strategy<Value = Option<ActiveMode>> {
    prop::sample::select(MODES.to_vec())
}

/// Thresholds that a policy may have.
fn bands() -> impl Strategy<Value = AutoMode> {
    (0..3000_u32, 0..3000_u32).prop_map(|(a, b)| AutoMode {
        ipvs_above_services: a.max(b),
        iptables_below_services: a.min(b),
    })
}

proptest! {
    #[test]
    fn a_count_that_wobbles_inside_the_band_never_changes_the_mode(
        auto in bands(),
        start in 0..4000_usize,
        wobbles in prop::collection::vec(0..10_000_u32, 1..50),
    ) {
        let policy = ServiceProxyPolicySpec { auto, ..policy(Mode::Auto) };
        prop_assert_eq!(policy.validate(), []);
        let rule = policy.mode_rule();
        let first = rule.mode_for(start, None, true);
        let width = auto.ipvs_above_services - auto.iptables_below_services + 1;
        for wobble in wobbles {
            let services = (auto.iptables_below_services + wobble % width) as usize;
            prop_assert_eq!(rule.mode_for(services, Some(first), true), first, "{} services", services);
        }
    }

    #[test]
    fn the_same_count_twice_changes_nothing(
        mode in modes(), auto in bands(), services in 0..4000_usize, current in currents(), can_run_ipvs: bool,
    ) {
        let rule = ServiceProxyPolicySpec { auto, ..policy(mode) }.mode_rule();
        let once = rule.mode_for(services, current, can_run_ipvs);
        prop_assert_eq!(rule.mode_for(services, Some(once), can_run_ipvs), once);
    }

    #[test]
    fn more_services_never_lead_away_from_ipvs(
        auto in bands(), few in 0..4000_usize, more in 0..4000_usize, current in currents(),
    ) {
        let rule = ServiceProxyPolicySpec { auto, ..policy(Mode::Auto) }.mode_rule();
        if rule.mode_for(few, current, true) == ActiveMode::IPVS {
            prop_assert_eq!(rule.mode_for(few + more, current, true), ActiveMode::IPVS);
        }
    }

    #[test]
    fn ipvs_is_never_picked_where_node_or_policy_make_it_impossible(
        mode in modes(), services in 0..4000_usize, current in currents(), can_run_ipvs: bool,
    ) {
        let mut policy = policy(mode);
        prop_assert_eq!(policy.mode_rule().mode_for(services, current, false), ActiveMode::IPTables);
        policy.node_ports.localhost = true;
        prop_assert_eq!(policy.mode_rule().mode_for(services, current, can_run_ipvs), ActiveMode::IPTables);
    }
}
