//! How a change reaches the nodes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, spec};

#[test]
fn pools_differ_and_a_change_goes_through_one_node_at_a_time() {
    let Some(cluster) = Cluster::up("pools and steps") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 4);
    cluster.add_nodes("inner", "inner", 2);
    let _operator = cluster.operator(&[]);
    cluster.policy("edge", &spec("edge", "IPVS", 1));
    cluster.policy("inner", &spec("inner", "IPTables", 1));
    cluster.wait_for("spp/edge", "Ready");
    cluster.wait_for("spp/inner", "Ready");
    assert_eq!(cluster.field("nsp/edge-1", ".spec.mode"), "IPVS");
    assert_eq!(cluster.field("nsp/inner-1", ".spec.mode"), "IPTables");
    assert_eq!(cluster.field("spp/edge", ".status.matchedNodes"), "4");

    let first = cluster.field("spp/edge", ".status.currentRevision");
    cluster.eventually("every node has answered", || {
        cluster.field("spp/edge", ".status.readyNodes") == "4"
    });
    cluster
        .agents
        .orders
        .most_moving
        .store(0, Ordering::Relaxed);
    cluster.policy("edge", &spec("edge", "IPVS", 2));
    cluster.eventually("the next revision is on every node", || {
        let current = cluster.field("spp/edge", ".status.currentRevision");
        current != first && cluster.condition("spp/edge", "Ready", "status") == "True"
    });
    assert_eq!(cluster.agents.orders.most_moving.load(Ordering::Relaxed), 1);

    let table = cluster.kubectl().run(&["get", "spp,nsp"]).unwrap();
    assert!(
        table.contains("nodeserviceproxy.sluice.dev/edge-1"),
        "{table}"
    );
    let told = cluster.kubectl().run(&["describe", "spp/edge"]).unwrap();
    for reason in ["RolloutStarted", "RolloutCompleted"] {
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn what_a_node_cannot_run_is_taken_back_and_told() {
    let Some(cluster) = Cluster::up("rollback") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 4);
    cluster.agents.orders.no_ipvs_on("edge-2");
    let _operator = cluster.operator(&[]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 4);
    let first = cluster.field("spp/edge", ".status.currentRevision");

    cluster.policy("edge", &spec("edge", "IPVS", 1));
    cluster.wait_for("spp/edge", "Stalled");
    let all_are_back = || {
        (1..=4).all(|n| {
            let node = format!("nsp/edge-{n}");
            cluster.field(&node, ".spec.revision") == first
                && cluster.field(&node, ".status.observedRevision") == first
        })
    };
    cluster.eventually("every node is back", all_are_back);
    let message = cluster.condition("spp/edge", "Stalled", "message");
    assert!(
        message.contains("edge-2") && message.contains("no IPVS"),
        "{message}"
    );
    let rejected = cluster.field("spp/edge", ".status.rejectedRevision");
    assert!(!rejected.is_empty() && rejected != first, "{rejected}");
    assert_eq!(cluster.field("spp/edge", ".status.currentRevision"), first);
    let told = cluster.kubectl().run(&["describe", "spp/edge"]).unwrap();
    assert!(
        told.contains("Warning") && told.contains("RolloutFailed"),
        "{told}"
    );
    // It is not tried again.
    std::thread::sleep(Duration::from_secs(2));
    assert!(all_are_back());
}

#[test]
fn pause_stops_and_a_change_on_the_way_goes_straight_on() {
    let Some(cluster) = Cluster::up("pause and change") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 4);
    let _operator = cluster.operator(&[]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 4);
    let first = cluster.field("spp/edge", ".status.currentRevision");
    let mut paused = spec("edge", "IPTables", 2);
    paused["rollout"]["paused"] = json!(true);
    cluster.policy("edge", &paused);
    cluster.eventually("it says that it is paused", || {
        cluster.condition("spp/edge", "Reconciling", "reason") == "Paused"
    });
    assert_eq!(cluster.field("nsp/edge-1", ".spec.revision"), first);

    // The first node does not answer, so the second change finds it on its way.
    let orders = &cluster.agents.orders;
    orders.silent.lock().unwrap().insert("edge-1".to_owned());
    cluster.policy("edge", &spec("edge", "IPTables", 2));
    cluster.eventually("the first node is on its way", || {
        cluster.field("nsp/edge-1", ".spec.revision") != first
    });
    cluster.policy("edge", &spec("edge", "IPTables", 3));
    cluster.eventually("it is moved on", || {
        cluster.field(
            "nsp/edge-1",
            ".spec.settings.modeSwitch.drainTimeoutSeconds",
        ) == "3"
    });
    orders.silent.lock().unwrap().clear();
    cluster.eventually("all have the last revision", || {
        (1..=4).all(|n| {
            let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
            cluster.field(&format!("nsp/edge-{n}"), path) == "3"
        })
    });
    cluster.wait_for("spp/edge", "Ready");
}

#[test]
fn on_failure_pause_stops_where_it_is_until_the_policy_is_mended() {
    let Some(cluster) = Cluster::up("on failure pause") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 4);
    cluster.agents.orders.no_ipvs_on("edge-2");
    let operator = cluster.operator(&[]);
    let pausing = |mode: &str, drain: u32| {
        let mut spec = spec("edge", mode, drain);
        spec["rollout"]["onFailure"] = json!("Pause");
        spec
    };
    cluster.policy("edge", &pausing("IPTables", 1));
    cluster.wait_until_ready("spp/edge", 4);
    let first = cluster.field("spp/edge", ".status.currentRevision");

    cluster.policy("edge", &pausing("IPVS", 1));
    cluster.wait_for("spp/edge", "Stalled");
    let modes = || {
        let mode = |n: u32| cluster.field(&format!("nsp/edge-{n}"), ".spec.mode");
        [1, 2, 3, 4].map(mode)
    };
    assert_eq!(modes(), ["IPVS", "IPVS", "IPTables", "IPTables"]);
    let message = cluster.condition("spp/edge", "Stalled", "message");
    assert!(message.contains("edge-2"), "{message}");
    assert_eq!(cluster.condition("spp/edge", "Ready", "status"), "False");
    assert_eq!(cluster.field("spp/edge", ".status.rejectedRevision"), "");
    assert_eq!(cluster.field("spp/edge", ".status.currentRevision"), first);
    // Nobody goes on, or back: beyond the deadline, and with another operator.
    let before = (modes(), cluster.versions());
    std::thread::sleep(Duration::from_secs(35));
    assert_eq!((modes(), cluster.versions()), before);
    drop(operator);
    let _next = cluster.operator(&["--leader-election=false"]);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((modes(), cluster.versions()), before);

    cluster.policy("edge", &pausing("IPTables", 2));
    cluster.eventually("all have what all can run", || {
        (1..=4).all(|n| {
            let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
            cluster.field(&format!("nsp/edge-{n}"), path) == "2"
        })
    });
    cluster.wait_for("spp/edge", "Ready");
    cluster.wait_for("spp/edge", "Stalled=false");
    assert_eq!(modes(), ["IPTables"; 4]);
}
