//! Nodes and policies that come, go and change.

use serde_json::json;

use crate::cluster::{Cluster, spec};

#[test]
fn nodes_join_leave_and_change_pools_and_policies_go() {
    let Some(cluster) = Cluster::up("nodes") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 2);
    let _operator = cluster.operator(&[]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    let mut all = spec("edge", "IPTables", 9);
    all["nodeSelector"] = json!({});
    all["priority"] = json!(-1);
    cluster.policy("all", &all);
    cluster.wait_for("spp/edge", "Ready");
    cluster.eventually("the lower policy says that it is overridden", || {
        cluster.condition("spp/all", "Accepted", "reason") == "Overridden"
    });
    let message = cluster.condition("spp/all", "Accepted", "message");
    assert!(
        message.contains("edge") && message.contains("priority"),
        "{message}"
    );

    cluster.add_nodes("late", "edge", 1);
    cluster.eventually("a node that joins is told", || {
        cluster.field("nsp/late-1", ".spec.policy") == "edge"
    });
    let uid = cluster.field("node/late-1", ".metadata.uid");
    assert_eq!(
        cluster.field("nsp/late-1", ".metadata.ownerReferences[0].uid"),
        uid
    );

    let kubectl = cluster.kubectl();
    kubectl
        .run(&["label", "node", "edge-1", "pool=inner", "--overwrite"])
        .unwrap();
    cluster.eventually("a node with another label has another policy", || {
        cluster.field("nsp/edge-1", ".spec.policy") == "all"
    });
    assert_eq!(cluster.field("nsp/edge-2", ".spec.policy"), "edge");

    kubectl.run(&["delete", "nsp/edge-2"]).unwrap();
    cluster.eventually("what was deleted by hand is back", || {
        cluster.field("nsp/edge-2", ".spec.policy") == "edge"
    });

    kubectl.run(&["delete", "node", "late-1"]).unwrap();
    cluster.eventually("the object of a node that is gone goes", || {
        cluster.field("nsp/late-1", ".metadata.name").is_empty()
    });

    kubectl.run(&["delete", "spp/edge"]).unwrap();
    cluster.eventually("the next policy takes its nodes", || {
        cluster.field("nsp/edge-2", ".spec.policy") == "all"
    });
    kubectl.run(&["delete", "spp/all"]).unwrap();
    cluster.eventually("and without one the defaults count", || {
        cluster.field("nsp/edge-1", ".spec.policy") == "built-in"
            && cluster.field("nsp/edge-2", ".spec.policy") == "built-in"
    });
}

#[test]
fn a_policy_that_selects_nothing_is_ready_and_says_so() {
    let Some(cluster) = Cluster::up("no nodes") else {
        return;
    };
    let _operator = cluster.operator(&[]);
    cluster.policy("nobody", &spec("nowhere", "IPTables", 1));
    cluster.wait_for("spp/nobody", "Ready");
    assert_eq!(
        cluster.condition("spp/nobody", "Accepted", "reason"),
        "NoNodes"
    );
}

/// What the operator sends names the version of the policy that it has looked at (`operator/src/cluster/requests.rs`). A uid would not do.
#[test]
fn a_status_for_an_earlier_policy_of_a_name_is_refused_by_the_api_server() {
    let Some(cluster) = Cluster::up("a status for an earlier policy") else {
        return;
    };
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    let tell = |version: &str| {
        let status = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy",
            "metadata": {"name": "edge", "resourceVersion": version},
            "status": {"matchedNodes": 1},
        });
        let apply = [
            "apply",
            "--server-side",
            "--subresource=status",
            "--force-conflicts",
            "-f=-",
        ];
        let status = status.to_string();
        cluster.kubectl().run_with_input(&apply, &status)
    };
    let version = || cluster.field("spp/edge", ".metadata.resourceVersion");
    let earlier = version();
    cluster.kubectl().run(&["delete", "spp/edge"]).unwrap();
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    let refused = tell(&earlier).unwrap_err().to_string();
    assert!(refused.contains("has been modified"), "{refused}");
    assert_eq!(cluster.field("spp/edge", ".status.matchedNodes"), "");
    tell(&version()).unwrap();
    assert_eq!(cluster.field("spp/edge", ".status.matchedNodes"), "1");
}

#[test]
fn the_taint_goes_when_the_node_is_programmed_and_no_other_taint_does() {
    let Some(cluster) = Cluster::up("taint") else {
        return;
    };
    let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1", "labels": {"pool": "edge"}},
        "spec": {"taints": [taint("example.org/a"), taint("node.sluice.dev/agent-not-ready"), taint("example.org/b")]},
    });
    let orders = &cluster.agents.orders;
    orders.silent.lock().unwrap().insert("edge-1".to_owned());
    cluster.installation.apply(&[node]).unwrap();
    let _operator = cluster.operator(&["--remove-node-taint"]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.eventually("the node is told", || {
        cluster.field("nsp/edge-1", ".spec.policy") == "edge"
    });
    let keys = || cluster.field("node/edge-1", ".spec.taints[*].key");
    assert!(keys().contains("agent-not-ready"));
    orders.silent.lock().unwrap().clear();
    cluster.eventually("the taint is gone", || !keys().contains("agent-not-ready"));
    // The API server adds one of its own.
    let keys = keys();
    for key in [
        "example.org/a",
        "example.org/b",
        "node.kubernetes.io/not-ready",
    ] {
        assert!(keys.contains(key), "{key} among {keys}");
    }
}
