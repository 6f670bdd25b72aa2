//! From one mode to the other.

use sluice_crds::v1alpha1::Mode;
use sluice_kernel::iptables::IptablesError;
use sluice_kernel::ipvs::IpvsError;

use super::*;

impl Bench {
    /// The next switch finds that the kernel has no IPVS.
    fn lacks_ipvs(&mut self) {
        let mut script = self.stage.lock();
        script.failures = VecDeque::from(["switch"]);
        script.error = Some(|| IpvsError::Absent.into());
    }

    /// So many calls of this name find the lock held.
    pub(super) fn finds_the_lock_held(&mut self, call: &'static str, times: usize) {
        let mut script = self.stage.lock();
        script.failures = VecDeque::from(vec![call; times]);
        script.error = Some(|| IptablesError::LockHeld { waited_seconds: 10 }.into());
    }

    pub(super) fn report(&self) -> Report {
        self.sync_loop.books.report.borrow().clone()
    }
}

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
    bench.lacks_ipvs();
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
fn auto_too_tries_again_at_the_full_interval_what_the_node_could_not_run() {
    let mut bench = Bench::at_rest();
    let mut settings = auto(1, 1);
    if let Some(spec) = &mut settings.policy {
        spec.sync.full_interval_seconds = 60;
    }
    bench.push(settings);
    bench.wake();
    bench.lacks_ipvs();
    bench.push(service("b", None));
    bench.wake();
    assert!(bench.stage.calls().contains(&"nft switch IPVS".to_owned()));
    assert_eq!(bench.metric("sluice_mode{mode=\"IPTables\"}"), "1");
    bench.push(service("cc", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 1"]);

    let refused_at = bench.stage.now();
    while !bench.stage.calls().contains(&"nft switch IPVS".to_owned()) {
        bench.wake();
        assert!(bench.stage.now() < refused_at + Duration::from_secs(61));
    }
    assert_eq!(bench.metric("sluice_mode{mode=\"IPVS\"}"), "1");
}

#[test]
fn a_mode_that_could_not_be_taken_is_tried_at_once_when_the_settings_ask_for_it_anew() {
    let mut bench = Bench::at_rest();
    bench.lacks_ipvs();
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
fn a_mode_that_could_not_be_taken_is_tried_at_once_with_other_settings_of_the_same_mode() {
    let mut bench = Bench::at_rest();
    bench.lacks_ipvs();
    bench.push(wants(Mode::IPVS));
    bench.wake();
    bench.stage.calls();
    bench.push(service("b", None));
    bench.push(wants(Mode::IPVS));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 1"], "they are the same");
    bench.push(policy(|spec| {
        spec.mode = Mode::IPVS;
        spec.sync.full_interval_seconds = 61;
    }));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPVS"]);
    assert!(!bench.is_told("cannot run mode IPVS"));
}

#[test]
fn a_switch_that_failed_for_what_passes_is_made_again_within_seconds_and_the_old_mode_serves() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("switch", 3);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft switch IPVS", "nft reconcile 1"]);
    let failed_at = bench.stage.now();
    let is_told_as_failing = |bench: &Bench| {
        let report = bench.report();
        assert_eq!(report.refused, None);
        assert_eq!(report.mode, Some(ActiveMode::IPTables));
        assert!(!bench.is_told("cannot run mode IPVS"));
        report.failure.unwrap().contains("xtables lock") && bench.health.is_healthy()
    };
    assert!(is_told_as_failing(&bench));
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 1"], "nothing waits for it");
    assert!(is_told_as_failing(&bench));
    while bench.report().failure.is_some() {
        assert!(is_told_as_failing(&bench));
        bench.wake();
    }
    assert!(bench.stage.now() < failed_at + Duration::from_secs(3));
    assert_eq!(
        bench.stage.calls(),
        [
            "nft switch IPVS",
            "nft reconcile 2",
            "nft switch IPVS",
            "nft reconcile 2",
            "nft switch IPVS"
        ]
    );
    let report = bench.report();
    assert_eq!(
        (report.mode, report.failure),
        (Some(ActiveMode::IPVS), None)
    );
    let failures = "sluice_sync_failures_total{category=\"iptables_lock_held\"}";
    assert_eq!(bench.metric(failures), "3");
    assert_eq!(bench.metric("sluice_sync_failing"), "");
}

#[test]
fn neither_a_neighbours_commit_nor_what_the_old_mode_lacks_is_a_lack_of_ipvs() {
    let errors: [fn() -> DataPlaneError; 2] = [
        || {
            let overtaken = IptablesError::Overtaken {
                program: "iptables-restore".into(),
                line: Some(6),
                lines: Vec::new(),
                message: "line 6 failed: Resource temporarily unavailable".into(),
            };
            overtaken.into()
        },
        || {
            let refused = IptablesError::Refused {
                program: "iptables-restore".into(),
                line: None,
                lines: Vec::new(),
                message: "of the rules that serve".into(),
            };
            DataPlaneError::BeforeSwitch(Box::new(refused.into()))
        },
    ];
    for error in errors {
        let mut bench = Bench::at_rest();
        bench.stage.lock().failures = VecDeque::from(["switch"]);
        bench.stage.lock().error = Some(error);
        bench.push(wants(Mode::IPVS));
        bench.wake();
        let report = bench.report();
        assert_eq!(report.refused, None);
        assert!(report.failure.unwrap().contains("iptables-restore"));
        bench.wake();
        assert_eq!(bench.report().mode, Some(ActiveMode::IPVS));
        assert_eq!(bench.report().failure, None);
    }
}

#[test]
fn a_switch_that_does_not_come_about_in_a_minute_is_given_up() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("switch", 100);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    let failed_at = bench.stage.now();
    while bench.report().refused.is_none() {
        bench.wake();
        assert!(bench.stage.now() < failed_at + Duration::from_secs(60));
    }
    assert!(bench.stage.now() > failed_at + Duration::from_secs(40));
    assert!(bench.is_told("another process held the xtables lock"));
    assert!(bench.health.is_healthy());
    assert_eq!(bench.report().failure, None);
}

#[test]
fn a_switch_that_is_no_longer_asked_for_is_not_made_again() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("switch", 1);
    bench.push(wants(Mode::IPVS));
    bench.wake();
    bench.push(wants(Mode::IPTables));
    bench.wake();
    assert!(bench.health.is_healthy());
    bench.stage.calls();
    for _ in 0..3 {
        bench.wake();
    }
    assert!(!bench.stage.calls().contains(&"nft switch IPVS".to_owned()));
}

#[test]
fn where_the_old_mode_cannot_be_written_either_nothing_speaks_against_the_new_one() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("switch", 1);
    bench.stage.lock().failures.extend(["reconcile"; 20]);
    bench.push(wants(Mode::IPVS));
    while bench.report().mode != Some(ActiveMode::IPVS) {
        bench.wake();
        assert_eq!(bench.report().refused, None);
    }
    assert!(bench.health.is_healthy());
}

#[test]
fn at_start_the_mode_is_tried_again_and_the_other_one_serves_only_where_ipvs_is_lacking() {
    for (error, first) in [
        (
            (|| IptablesError::LockHeld { waited_seconds: 10 }.into()) as fn() -> DataPlaneError,
            None,
        ),
        (|| IpvsError::Absent.into(), Some(ActiveMode::IPTables)),
        (
            || {
                IpvsError::Kernel {
                    operation: "list",
                    code: 11,
                }
                .into()
            },
            None,
        ),
    ] {
        let mut bench = Bench::new();
        bench.stage.lock().failures = VecDeque::from(["reconcile"]);
        bench.stage.lock().error = Some(error);
        bench.push(wants(Mode::IPVS));
        bench.inbox.set_listed();
        bench.settle();
        assert_eq!(bench.report().mode, first);
        assert_eq!(bench.report().refused.is_some(), first.is_some());
        bench.wake();
        let mode = first.unwrap_or(ActiveMode::IPVS);
        assert_eq!(bench.report().mode, Some(mode));
    }
}

#[test]
fn a_record_of_sysctls_that_cannot_be_written_does_not_speak_against_ipvs() {
    let mut bench = Bench::at_rest();
    // A folder cannot be written over.
    let record = bench.state_dir.path().join("sysctls.json");
    std::fs::create_dir_all(record.join("in the way")).unwrap();
    bench.push(wants(Mode::IPVS));
    bench.wake();
    let report = bench.report();
    assert_eq!(
        (report.mode, report.refused),
        (Some(ActiveMode::IPTables), None)
    );
    assert!(
        report
            .failure
            .unwrap()
            .contains("record of old sysctl values")
    );
    std::fs::remove_dir_all(&record).unwrap();
    bench.wake();
    assert_eq!(bench.report().mode, Some(ActiveMode::IPVS));
    assert!(bench.health.is_healthy());
}

#[test]
fn foreign_changes_of_rules_neither_cause_nor_put_off_that_a_mode_is_tried_again() {
    let mut bench = Bench::at_rest();
    bench.lacks_ipvs();
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
