//! Others that write what is the operator's to write.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::control_plane::Kubectl;
use sluice_e2e::operator_process::OperatorProcess;

use crate::cluster::{Cluster, spec};

const WRITES: &str = "sluice_operator_writes_total";
/// How long somebody writes without a rest.
const STORM: Duration = Duration::from_secs(20);
/// What the operator may write again to one object in that time: after 1, 2, 4, 8 s, and what happens by the way.
const AGAIN: f64 = 12.0;

/// Changes an object by a patch, over and over; tells how often.
fn meddle(kubectl: &Kubectl, object: &str, more: &[&str], patch: &str, ends: &AtomicBool) -> usize {
    let arguments = [
        "patch",
        object,
        "--type=merge",
        "--field-manager=meddler",
        "-p",
        patch,
    ];
    let arguments = [&arguments[..], more].concat();
    let mut times = 0;
    while !ends.load(Ordering::Relaxed) {
        kubectl.run(&arguments).unwrap();
        times += 1;
    }
    times
}

/// Lets somebody change an object as long as the storm lasts; tells how often that was, and how often the operator wrote anything.
fn storm(
    cluster: &Cluster,
    operator: &OperatorProcess,
    object: &str,
    more: &[&str],
    patch: &str,
) -> (usize, f64) {
    let before = operator.metric(WRITES).unwrap();
    let ends = AtomicBool::new(false);
    let meddled = std::thread::scope(|scope| {
        let kubectl = cluster.kubectl();
        let meddler = scope.spawn(|| meddle(kubectl, object, more, patch, &ends));
        std::thread::sleep(STORM);
        ends.store(true, Ordering::Relaxed);
        meddler.join().unwrap()
    });
    let written = operator.metric(WRITES).unwrap() - before;
    println!("{object}: {meddled} changes by somebody else, {written} writes of the operator");
    (meddled, written)
}

fn ready(test: &str) -> Option<(Cluster, OperatorProcess)> {
    let cluster = Cluster::up(test)?;
    cluster.add_nodes("edge", "edge", 2);
    let operator = cluster.operator(&["--leader-election=false"]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 2);
    Some((cluster, operator))
}

#[test]
fn who_fights_for_the_spec_of_a_node_is_named_and_loses_without_a_hot_loop() {
    let Some((cluster, operator)) = ready("a fight for a spec") else {
        return;
    };
    let patch =
        json!({"spec": {"settings": {"modeSwitch": {"drainTimeoutSeconds": 77}}}}).to_string();
    let (meddled, written) = storm(&cluster, &operator, "nsp/edge-1", &[], &patch);
    assert!(meddled > 5, "{meddled} are no storm");
    assert!((3.0..=2.0 * AGAIN).contains(&written), "{written} writes");
    cluster.eventually("the operator has the last word", || {
        let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
        cluster.field("nsp/edge-1", path) == "1"
    });
    assert!(
        operator.log().contains("writer=\"meddler\""),
        "{}",
        operator.log()
    );
    let told = cluster.kubectl().run(&["describe", "nsp/edge-1"]).unwrap();
    assert!(
        told.contains("Contested") && told.contains("meddler undoes"),
        "{told}"
    );
    cluster.wait_for("spp/edge", "Ready");
}

#[test]
fn a_setting_that_somebody_adds_is_taken_away() {
    let Some((cluster, _operator)) = ready("an added setting") else {
        return;
    };
    let path = ".spec.settings.conntrack.maxPerCore";
    assert_eq!(cluster.field("nsp/edge-1", path), "");
    let patch = json!({"spec": {"settings": {"conntrack": {"maxPerCore": 4096}}}}).to_string();
    let arguments = ["patch", "nsp/edge-1", "--type=merge", "-p", &patch];
    cluster.kubectl().run(&arguments).unwrap();
    cluster.eventually("only what the policy says is there", || {
        cluster.field("nsp/edge-1", path).is_empty()
    });
    cluster.wait_for("spp/edge", "Ready");
}

#[test]
fn who_fights_for_the_status_of_a_policy_is_named_and_loses_without_a_hot_loop() {
    let Some((cluster, operator)) = ready("a fight for a status") else {
        return;
    };
    let patch = json!({"status": {"matchedNodes": 99, "currentRevision": "mine"}}).to_string();
    let more = ["--subresource=status"];
    let (meddled, written) = storm(&cluster, &operator, "spp/edge", &more, &patch);
    assert!(meddled > 5, "{meddled} are no storm");
    assert!((3.0..=2.0 * AGAIN).contains(&written), "{written} writes");
    cluster.eventually("the operator has the last word", || {
        cluster.field("spp/edge", ".status.matchedNodes") == "2"
            && cluster.condition("spp/edge", "Ready", "status") == "True"
    });
    assert!(
        operator.log().contains("writer=\"meddler\""),
        "{}",
        operator.log()
    );
    let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
    assert_eq!(cluster.field("nsp/edge-2", path), "1");
}

#[test]
fn a_policy_that_is_edited_in_a_storm_ends_at_its_last_state() {
    let Some((cluster, operator)) = ready("a storm of edits") else {
        return;
    };
    let before = operator.metric(WRITES).unwrap();
    let edits = AtomicUsize::new(0);
    let begun = Instant::now();
    // Two who do not know of each other.
    std::thread::scope(|scope| {
        for who in 0..2 {
            let (cluster, edits) = (&cluster, &edits);
            scope.spawn(move || {
                let mut drain = 100 + who;
                while begun.elapsed() < STORM {
                    drain += 2;
                    cluster.policy("edge", &spec("edge", "IPTables", drain));
                    edits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let edits = edits.into_inner();
    cluster.policy("edge", &spec("edge", "IPTables", 5));
    cluster.eventually("every node has the last state", || {
        (1..=2).all(|n| {
            let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
            cluster.field(&format!("nsp/edge-{n}"), path) == "5"
        }) && cluster.condition("spp/edge", "Ready", "status") == "True"
    });
    let written = operator.metric(WRITES).unwrap() - before;
    println!("{edits} edits, {written} writes of the operator");
    assert!(edits > 5, "{edits} are no storm");
    // Of each a revision that is kept and forgotten, a status or two, and at most two nodes.
    assert!(
        written <= 8.0 * edits as f64 + 30.0,
        "{written} writes for {edits} edits"
    );
    let kept = ["get", "controllerrevisions", "-A", "-o", "name"];
    let kept = cluster.kubectl().run(&kept).unwrap().lines().count();
    assert!(kept <= 20, "{kept} revisions are kept");
}
