//! What an operator needs before it can work.

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
    assert!(!operator.is_ready().unwrap());
    cluster.installation.define().unwrap();
    cluster.eventually("it is ready", || operator.is_ready().unwrap());
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
    cluster.wait_until_ready("spp/edge", 3);
    std::thread::sleep(Duration::from_secs(2));
    let before = (
        cluster.versions(),
        operator.metric("sluice_operator_writes_total").unwrap(),
    );
    assert!(before.1 > 0.0, "the metric counts");
    std::thread::sleep(Duration::from_secs(20));
    let after = (
        cluster.versions(),
        operator.metric("sluice_operator_writes_total").unwrap(),
    );
    assert_eq!(before, after);
}
