//! From one iptables variant to the other.

use sluice_crds::v1alpha1::Mode;
use sluice_kernel::iptables::{Family, IptablesError};

use super::*;

impl Bench {
    /// So many syncs find that the kernel has no table for the variant.
    fn lacks_tables(&mut self, syncs: usize) {
        let mut script = self.stage.lock();
        script.failures = VecDeque::from(vec!["reconcile"; syncs]);
        script.error = Some(|| {
            let lack = IptablesError::Unsupported {
                variant: Variant::Legacy,
                family: Family::V4,
                table: None,
                message: "do you need to insmod?".into(),
            };
            lack.into()
        });
    }

    /// The variants that may hold rules, as the next run will read.
    fn variants_noted(&self) -> String {
        let file = self.state_dir.path().join("iptables-variants");
        std::fs::read_to_string(file).unwrap()
    }
}

fn wants_legacy() -> Batch {
    policy(|spec| spec.iptables.variant = IptablesVariant::Legacy)
}

#[test]
fn another_variant_is_programmed_whole_and_verified_before_the_old_one_is_removed() {
    let mut bench = Bench::at_rest();
    bench.push(wants_legacy());
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        [
            "legacy reconcile 1",
            "legacy verify",
            "nft remove",
            "legacy check"
        ]
    );
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(bench.stage.calls(), ["legacy apply 1"]);
}

#[test]
fn a_variant_that_the_node_lacks_leaves_the_old_one_in_use() {
    let mut bench = Bench::at_rest();
    bench.lacks_tables(1);
    bench.push(wants_legacy());
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["legacy reconcile 1", "legacy remove", "nft reconcile 1"]
    );
    assert!(bench.health.is_healthy());
    assert!(bench.is_told("cannot use the iptables variant legacy"));
    assert!(bench.is_told("do you need to insmod?"));
    bench.push(service("b", None));
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["nft apply 1"],
        "the refused variant is not tried again"
    );
    bench.inbox.set_ruleset_changed();
    bench.settle();
    assert_eq!(
        bench.stage.calls(),
        ["nft verify"],
        "nor for what others change"
    );
}

#[test]
fn a_variant_that_failed_for_what_passes_is_tried_again_within_seconds_and_the_old_one_serves() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("reconcile", 1);
    bench.push(wants_legacy());
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["legacy reconcile 1", "legacy remove", "nft reconcile 1"]
    );
    let failed_at = bench.stage.now();
    assert!(bench.report().failure.unwrap().contains("xtables lock"));
    assert!(bench.health.is_healthy());
    assert!(!bench.is_told("cannot use the iptables variant"));
    while bench.report().failure.is_some() {
        bench.wake();
        assert!(bench.stage.now() < failed_at + Duration::from_secs(3));
    }
    assert_eq!(
        bench.stage.calls(),
        [
            "legacy reconcile 1",
            "legacy verify",
            "nft remove",
            "legacy check"
        ]
    );
    assert_eq!(bench.variants_noted(), "legacy");
}

#[test]
fn a_variant_that_does_not_come_about_in_a_minute_is_given_up_with_the_reason() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["verify"; 10]);
    bench.push(wants_legacy());
    bench.wake();
    let failed_at = bench.stage.now();
    while !bench.is_told("cannot use the iptables variant legacy") {
        bench.wake();
        assert!(bench.stage.now() < failed_at + Duration::from_secs(60));
    }
    assert!(bench.is_told("is full"));
    assert_eq!(bench.report().failure, None);
    assert_eq!(bench.variants_noted(), "nft");
}

#[test]
fn rules_of_the_old_variant_that_could_not_be_removed_are_told_and_removed_later() {
    let mut bench = Bench::at_rest();
    bench.finds_the_lock_held("remove", 2);
    bench.push(wants_legacy());
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["legacy reconcile 1", "legacy verify", "nft remove"]
    );
    assert!(bench.is_told("iptables variant nft, which is not in use any more"));
    assert!(bench.is_told("xtables lock"));
    assert_eq!(bench.variants_noted(), "legacy\nnft");
    let failed_at = bench.stage.now();
    while bench.is_told("not in use any more") {
        bench.wake();
        assert!(bench.stage.now() < failed_at + Duration::from_secs(30));
    }
    let calls = bench.stage.calls();
    let tries = calls.iter().filter(|call| *call == "nft remove");
    assert_eq!(tries.count(), 2, "{calls:?}");
    assert_eq!(bench.variants_noted(), "legacy");
}

#[test]
fn rules_that_an_earlier_run_left_and_a_start_could_not_remove_are_removed_later() {
    let bench = Bench::new();
    let noted = bench.state_dir.path().join("iptables-variants");
    std::fs::write(&noted, "legacy").unwrap();
    let mut bench = Bench::over(bench.state_dir);
    bench.finds_the_lock_held("remove", 1);
    bench.inbox.set_listed();
    bench.settle();
    assert_eq!(bench.stage.calls(), ["nft reconcile 0", "legacy remove"]);
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["nft check", "nft reconcile 0", "legacy remove", "nft check"]
    );
    assert_eq!(bench.variants_noted(), "nft");
}

#[test]
fn a_start_with_a_variant_that_the_node_lacks_serves_by_the_other_one_in_the_mode_that_is_asked() {
    for (mode, serving, failures) in [
        (Mode::IPTables, ActiveMode::IPTables, 1),
        (Mode::IPVS, ActiveMode::IPVS, 2),
    ] {
        let mut bench = Bench::new();
        bench.lacks_tables(failures);
        bench.push(policy(|spec| {
            spec.iptables.variant = IptablesVariant::Legacy;
            spec.mode = mode;
        }));
        bench.inbox.set_listed();
        bench.settle();
        let mut expected = vec!["legacy reconcile 0"; failures];
        expected.extend(["nft reconcile 0", "legacy remove", "nft check"]);
        assert_eq!(bench.stage.calls(), expected);
        assert!(bench.is_told("cannot use the iptables variant legacy"));
        assert!(bench.health.is_healthy());
        bench.wake();
        assert_eq!(bench.report().mode, Some(serving));
        assert_eq!(bench.report().refused, None);
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_keeps_no_node_from_being_served() {
    let bench = Bench::new();
    // A folder cannot be written over.
    let files = ["iptables-variants", "mode"].map(|file| bench.state_dir.path().join(file));
    let mut bench = Bench::over(bench.state_dir);
    for file in &files {
        std::fs::create_dir(file).unwrap();
    }
    bench.inbox.set_listed();
    bench.settle();
    assert_eq!(bench.stage.calls(), ["nft reconcile 0"]);
    assert!(bench.health.is_healthy());
    assert!(bench.is_told("cannot be noted for the next run"));
    bench.push(wants_legacy());
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["nft reconcile 0"],
        "the old one stays"
    );
    assert!(bench.report().failure.unwrap().contains("--state-dir"));
    for file in &files {
        std::fs::remove_dir(file).unwrap();
    }
    while bench.report().failure.is_some() {
        bench.wake();
    }
    assert!(!bench.is_told("cannot be noted for the next run"));
    assert_eq!(bench.variants_noted(), "legacy");
}

#[test]
fn rules_that_give_no_notice_are_compared_every_few_seconds() {
    let mut bench = Bench::at_rest();
    bench.push(wants_legacy());
    bench.wake();
    bench.stage.calls();
    let start = bench.stage.now();
    while bench.stage.now() < start + Duration::from_secs(30) {
        bench.wake();
    }
    let calls = bench.stage.calls();
    let verifications = calls.iter().filter(|call| *call == "legacy verify");
    assert_eq!(verifications.count(), 3, "{calls:?}");
}
