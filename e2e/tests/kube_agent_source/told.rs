//! What is told of objects that come, change and go.

use serde_json::json;

use crate::cluster::{Cluster, OWN_MARK_BIT, SILENCE, mark_bit, name, slice};

#[test]
fn the_first_update_has_everything_and_each_change_that_matters_follows() {
    let Some(cluster) = Cluster::start("changes", &[]) else {
        return;
    };
    cluster.serve("web", "10.244.1.5");
    cluster.serve("api", "10.244.1.6");
    let mut told = cluster.source();
    let first = told.next();
    assert!(first.services[&name("web")].is_some() && first.services[&name("api")].is_some());
    assert_eq!(first.slices.len(), 2, "{:?}", first.slices.keys());
    let node = first.node.unwrap();
    assert_eq!(node.pod_cidrs, ["10.244.1.0/24".parse().unwrap()]);
    assert_eq!(
        first.policy.unwrap().source_nat.mark_bit,
        OWN_MARK_BIT,
        "no definitions: the flags count"
    );

    cluster.apply(&slice("web", "10.244.1.7"));
    let update = told.until("the slice", |update| !update.slices.is_empty());
    let endpoints = &update.slices[&name("web")].as_ref().unwrap().endpoints;
    assert_eq!(endpoints[0].address.to_string(), "10.244.1.7");
    assert!(update.services.is_empty() && mark_bit(&update).is_none());

    cluster.delete("service/api");
    let gone = told.until("the deletion", |update| !update.services.is_empty());
    assert_eq!(gone.services[&name("api")], None);

    // Annotations, labels by which nobody selects here, and whose fields they are.
    for what in ["service/web", "endpointslice/web", "node/node-1"] {
        cluster.kubectl.run(&["annotate", what, "note=1"]).unwrap();
    }
    for what in ["endpointslice/web", "node/node-1"] {
        cluster.kubectl.run(&["label", what, "team=shop"]).unwrap();
    }
    told.assert_nothing(SILENCE, "nothing that matters has changed");

    let taint = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
        "spec": {
            "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"],
            "taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}],
        },
    });
    cluster.apply(&taint);
    let update = told.until("the taint", |update| update.node.is_some());
    assert!(update.node.unwrap().being_deleted);
    cluster.delete("node/node-1");
    told.assert_nothing(SILENCE, "the last facts of a node that is gone stay");
}
