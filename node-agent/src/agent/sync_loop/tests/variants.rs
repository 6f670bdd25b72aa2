//! From one iptables variant to the other.

use super::*;

#[test]
fn another_variant_is_programmed_whole_and_verified_before_the_old_one_is_removed() {
    let mut bench = Bench::at_rest();
    bench.push(policy(|spec| {
        spec.iptables.variant = IptablesVariant::Legacy;
    }));
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
fn a_variant_that_cannot_be_programmed_leaves_the_old_one_in_use() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["reconcile"]);
    bench.push(policy(|spec| {
        spec.iptables.variant = IptablesVariant::Legacy;
    }));
    bench.wake();
    assert_eq!(
        bench.stage.calls(),
        ["legacy reconcile 1", "legacy remove", "nft reconcile 1"]
    );
    assert!(bench.health.is_healthy());
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
fn rules_that_give_no_notice_are_compared_every_few_seconds() {
    let mut bench = Bench::at_rest();
    bench.push(policy(|spec| {
        spec.iptables.variant = IptablesVariant::Legacy;
    }));
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
