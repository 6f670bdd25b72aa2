//! From one mode to the other.

use sluice_crds::v1alpha1::Mode;

use super::*;

fn wants(mode: Mode) -> Batch {
    policy(|spec| {
        spec.mode = mode;
        spec.sync.full_interval_seconds = 60;
    })
}

/// `Auto` with these thresholds.
fn auto(above: u32, below: u32) -> Batch {
    policy(|spec| {
        spec.mode = Mode::Auto;
        spec.auto.ipvs_above_services = above;
        spec.auto.iptables_below_services = below;
    })
}

#[test]
fn another_mode_is_switched_to_and_told() {
    let mut bench = Bench::at_rest();
    bench.push(wants(Mode::IPVS));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPVS"]);
    assert_eq!(bench.metric("sluice_mode{mode=\"IPVS\"}"), "1");
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 1"]);
    bench.push(wants(Mode::IPTables));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPTables"]);
    assert_eq!(bench.metric("sluice_mode{mode=\"IPTables\"}"), "1");
}

#[test]
fn a_mode_that_cannot_be_taken_is_a_condition_and_tried_again_at_the_full_interval() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["switch"]);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["nft switch IPVS", "nft reconcile 1"],
        "the old one goes on"
    );
    assert!(bench.health.is_healthy());
    assert!(bench.is_told("cannot run mode IPVS"));
    assert_eq!(bench.metric("sluice_mode{mode=\"IPTables\"}"), "1");
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 1"]);

    let refused_at = bench.stage.now();
    while !bench.stage.calls().contains(&"nft switch IPVS".to_owned()) {
        bench.wake();
        assert!(bench.stage.now() < refused_at + Duration::from_secs(61));
    }
    assert!(bench.stage.now() > refused_at + Duration::from_secs(50));
    assert!(!bench.is_told("cannot run mode IPVS"));
}

#[test]
fn a_mode_that_could_not_be_taken_is_tried_at_once_when_the_settings_ask_for_it_anew() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["switch"]);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    bench.push(wants(Mode::IPTables));
    bench.wake();
    assert!(!bench.is_told("cannot run mode IPVS"));
    bench.stage.calls();
    bench.push(wants(Mode::IPVS));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPVS"]);
}

#[test]
fn foreign_changes_of_rules_neither_cause_nor_put_off_that_a_mode_is_tried_again() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["switch"]);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    bench.stage.calls();
    bench.inbox.set_ruleset_changed();
    bench.settle();
    assert_eq!(bench.stage.calls(), ["nft verify"]);
    assert!(bench.is_told("cannot run mode IPVS"));

    let mut change_for = |seconds: u64| {
        for _ in 0..seconds {
            bench.stage.lock().now += Duration::from_secs(1);
            bench.inbox.set_ruleset_changed();
            bench.settle();
        }
        bench.stage.calls()
    };
    let switch = "nft switch IPVS".to_owned();
    assert!(!change_for(59).contains(&switch));
    assert!(change_for(2).contains(&switch));
}

#[test]
fn a_node_whose_sysctls_do_not_allow_ipvs_is_served_by_rules() {
    let mut bench = Bench::at_rest();
    std::fs::remove_dir_all(bench.state_dir.path().join("sys")).unwrap();
    bench.push(wants(Mode::IPVS));
    bench.wake();
    let calls = bench.stage.calls();
    assert!(
        !calls.iter().any(|call| call.contains("switch")),
        "{calls:?}"
    );
    assert!(bench.health.is_healthy());
    assert!(bench.is_told("cannot run mode IPVS"));
}

#[test]
fn auto_goes_by_the_number_of_services_and_stays_in_between() {
    let mut bench = Bench::at_rest();
    bench.push(auto(2, 2));
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(bench.metric("sluice_mode{mode=\"IPTables\"}"), "1");
    bench.stage.calls();
    bench.push(service("cc", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPVS"]);
    let gone = |name: &str| Batch {
        services: BTreeMap::from([(ObjectName::new("ns", name), None)]),
        ..Batch::default()
    };
    bench.push(gone("cc"));
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["nft apply 1"],
        "two are as good as before"
    );
    bench.push(gone("b"));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPTables"]);
}

#[test]
fn auto_stays_where_the_last_run_was() {
    for (mode, others) in [("IPVS", "IPTables"), ("IPTables", "IPVS")] {
        let mut bench = Bench::after_a_run_in(Some(mode));
        bench.push(auto(5, 1));
        bench.push(service("a", None));
        bench.inbox.set_listed();
        bench.settle();
        assert_eq!(bench.stage.calls(), ["nft reconcile 1"]);
        let serves = |mode| bench.metric(&format!("sluice_mode{{mode=\"{mode}\"}}"));
        assert_eq!((serves(mode), serves(others)), ("1".into(), "0".into()));
    }
}

/// An agent may die while its old connections are still in IPVS, and the next may want the other mode.
#[test]
fn what_ipvs_needs_stays_in_force_while_a_restart_has_not_looked_at_it() {
    for left_in_ipvs in [true, false] {
        let mut first = Bench::at_rest();
        first.push(wants(Mode::IPVS));
        first.wake();
        let file = first.state_dir.path().join("sys/net/ipv4/vs/conntrack");
        let value = || std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert_eq!(value(), "1");

        let mut second = Bench::over(first.state_dir);
        second.stage.lock().left_in_ipvs = left_in_ipvs;
        second.stage.lock().watched.0.clone_from(&file);
        second.push(wants(Mode::IPTables));
        second.inbox.set_listed();
        second.settle();
        assert_eq!(second.stage.lock().watched.1.trim(), "1");
        assert_eq!(value(), if left_in_ipvs { "1" } else { "0" });
    }
}
