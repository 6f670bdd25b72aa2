//! What an operator needs before it can work.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_e2e::installation::Installation;

use crate::cluster::{Cluster, spec};

#[test]
fn definitions_that_come_late_are_waited_for() {
    let Some(cluster) = Cluster::with("late definitions", Installation::without_definitions) else {
        return;
    };
    cluster.add_nodes("edge", "edge", 1);
    let operator = cluster.operator(&[]);
    cluster.eventually("it says what it lacks", || {
        operator.log().contains("definitions")
    });
    assert!(!operator.is_ready());
    cluster.installation.define().unwrap();
    cluster.eventually("it is ready", || operator.is_ready());
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_for("spp/edge", "Ready");
}

#[test]
fn while_nothing_happens_nothing_is_written() {
    let Some(cluster) = Cluster::up("idle") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 3);
    let operator = cluster.operator(&[]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.eventually("every node is ready", || {
        cluster.field("spp/edge", ".status.readyNodes") == "3"
            && cluster.condition("spp/edge", "Ready", "status") == "True"
    });
    std::thread::sleep(Duration::from_secs(2));
    let before = (
        cluster.versions(),
        operator.metric("sluice_operator_writes_total"),
    );
    assert!(before.1 > 0.0, "the metric counts");
    std::thread::sleep(Duration::from_secs(20));
    let after = (
        cluster.versions(),
        operator.metric("sluice_operator_writes_total"),
    );
    assert_eq!(before, after);
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_said_in_a_sentence() {
    let run = |argument: &str| {
        let ended = Command::new(env!("CARGO_BIN_EXE_operator-under-test"))
            .args([argument, "--bind-address=off"])
            .output()
            .unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let missing = Path::new("/nonexistent/kubeconfig");
    let said = run(&format!("--kubeconfig={}", missing.display()));
    assert!(said.contains("/nonexistent/kubeconfig"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let said = run("--no-such-flag");
    assert!(said.contains("--no-such-flag"), "{said}");
}
