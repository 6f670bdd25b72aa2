//! Policies with values that this operator does not know, because the definitions are of a later version.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, spec};

const DRAIN: &str = ".spec.settings.modeSwitch.drainTimeoutSeconds";

/// Makes the definition know a mode that the operator does not.
fn widen_definition(cluster: &Cluster) {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/-";
    let patch = json!([{"op": "add", "path": path, "value": "Strange"}]).to_string();
    let definition = "crd/serviceproxypolicies.sluice.dev";
    let arguments = ["patch", definition, "--type=json", "-p", &patch];
    cluster.kubectl().run(&arguments).unwrap();
}

/// A status is about the spec as it is now.
fn is_told(cluster: &Cluster, policy: &str) -> bool {
    let told = cluster.field(policy, ".status.observedGeneration");
    !told.is_empty() && told == cluster.field(policy, ".metadata.generation")
}

#[test]
fn a_policy_that_cannot_be_read_says_so_keeps_its_status_and_stops_no_other() {
    let Some(cluster) = Cluster::up("a policy that cannot be read") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 2);
    cluster.add_nodes("odd", "odd", 1);
    cluster.agents.orders.no_ipvs_on("odd-1");
    let mut operator = cluster.operator(&["--leader-election=false", "--remove-node-taint"]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.policy("strange", &spec("odd", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 2);
    cluster.wait_until_ready("spp/strange", 1);
    cluster.policy("strange", &spec("odd", "IPVS", 1));
    cluster.wait_for("spp/strange", "Stalled");
    let revisions = || {
        let revision = |field: &str| cluster.field("spp/strange", &format!(".status.{field}"));
        ["currentRevision", "rejectedRevision"].map(revision)
    };
    let before = revisions();
    assert!(before.iter().all(|name| !name.is_empty()), "{before:?}");
    cluster.eventually("its node is back", || {
        cluster.field("nsp/odd-1", ".spec.revision") == before[0]
    });

    widen_definition(&cluster);
    cluster.eventually(
        "the API server takes what the operator does not know",
        || {
            let patch = r#"{"spec": {"mode": "Strange"}}"#;
            let arguments = ["patch", "spp/strange", "--type=merge", "-p", patch];
            cluster.kubectl().run(&arguments).is_ok()
        },
    );
    cluster.eventually("it says that it cannot be read", || {
        is_told(&cluster, "spp/strange")
            && cluster.condition("spp/strange", "Accepted", "reason") == "Invalid"
    });
    let message = cluster.condition("spp/strange", "Stalled", "message");
    for words in [
        "it cannot be read (spec.mode: ",
        "`Strange`",
        "upgrade the operator",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(revisions(), before);

    // An operator that starts knows of it only what is stored.
    operator.kill().unwrap();
    let patch = r#"{"spec": {"priority": 1}}"#;
    let arguments = ["patch", "spp/strange", "--type=merge", "-p", patch];
    cluster.kubectl().run(&arguments).unwrap();
    operator.start().unwrap();
    cluster.eventually("the next operator has looked at it", || {
        is_told(&cluster, "spp/strange")
    });
    assert_eq!(revisions(), before);

    let late = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "late-1", "labels": {"pool": "edge"}},
        "spec": {"taints": [{"key": "node.sluice.dev/agent-not-ready", "effect": "NoSchedule"}]},
    });
    cluster.installation.apply(&[late]).unwrap();
    cluster.eventually("a node that joins is served", || {
        let taints = cluster.field("node/late-1", ".spec.taints[*].key");
        cluster.field("nsp/late-1", ".spec.policy") == "edge" && !taints.contains("sluice")
    });
    cluster
        .kubectl()
        .run(&["delete", "node", "edge-2"])
        .unwrap();
    cluster.eventually("the object of a node that is gone goes", || {
        cluster.field("nsp/edge-2", ".metadata.name").is_empty()
    });
    cluster.policy("edge", &spec("edge", "IPTables", 2));
    cluster.eventually("the other policy rolls out", || {
        let nodes = ["nsp/edge-1", "nsp/late-1"];
        nodes.iter().all(|node| cluster.field(node, DRAIN) == "2")
    });
    cluster.wait_for("spp/edge", "Ready");
    assert_eq!(cluster.field("nsp/odd-1", ".spec.revision"), before[0]);

    let writes = || operator.metric("sluice_operator_writes_total").unwrap();
    let written = writes();
    std::thread::sleep(Duration::from_secs(5));
    assert!(
        (writes() - written).abs() < 0.5,
        "nothing is written again and again"
    );

    cluster.policy("strange", &spec("odd", "IPTables", 3));
    cluster.eventually("a policy that is mended counts", || {
        cluster.field("nsp/odd-1", DRAIN) == "3"
    });
    cluster.wait_for("spp/strange", "Ready");
}
