//! Drift: looked for, found, repaired.

use super::*;

#[test]
fn counts_are_checked_every_five_seconds_and_everything_every_full_interval() {
    let mut bench = Bench::at_rest();
    let start = bench.stage.now();
    assert_eq!(bench.wake() - start, Duration::from_secs(5));
    assert_eq!(bench.stage.calls(), ["nft check"]);
    bench.push(policy(|spec| spec.sync.full_interval_seconds = 60));
    let policy_at = bench.stage.now();
    while bench.stage.now() < policy_at + Duration::from_secs(61) {
        bench.wake();
    }
    let calls = bench.stage.calls();
    assert_eq!(
        calls.iter().filter(|call| *call == "nft verify").count(),
        1,
        "{calls:?}"
    );
}

#[test]
fn drift_is_repaired_at_once_and_counted_by_kind() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().drift = vec![drift("chain SLUICE-SERVICES of IPv4 nat"), drift("set S")];
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft check", "nft reconcile 1"]);
    assert!(bench.health.is_healthy());
    assert_eq!(
        bench.metric("sluice_drift_repairs_total{kind=\"chain\"}"),
        "1"
    );
    assert_eq!(bench.metric("sluice_drift_found_total{kind=\"set\"}"), "1");
}

#[test]
fn drift_that_cannot_be_repaired_is_red_and_not_counted_as_repaired() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().drift = vec![drift("set S")];
    bench.stage.lock().failures = VecDeque::from(["reconcile"]);
    bench.wake();
    assert!(!bench.health.is_healthy());
    assert_eq!(
        bench.metric("sluice_drift_repairs_total{kind=\"set\"}"),
        "0"
    );
    bench.wake();
    assert!(bench.health.is_healthy());
}

#[test]
fn a_notice_of_a_foreign_change_is_followed_by_a_full_comparison_at_once_but_not_all_the_time() {
    let mut bench = Bench::at_rest();
    bench.inbox.set_ruleset_changed();
    bench.settle();
    assert_eq!(bench.stage.calls(), ["nft verify"]);
    let before = bench.stage.now();
    bench.inbox.set_ruleset_changed();
    assert_eq!(bench.wake() - before, Duration::from_millis(50));
    assert_eq!(bench.stage.calls(), ["nft verify"]);
}
