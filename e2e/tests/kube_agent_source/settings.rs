//! The settings of the node: from its `NodeServiceProxy`, and the last good ones while there is none that can be used.

use serde_json::json;

use crate::cluster::{Cluster, NODE, SILENCE, Told, mark_bit};

#[test]
fn settings_come_with_the_definitions_and_stay_when_they_go() {
    let Some(cluster) = Cluster::start("definitions that come later", &[]) else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let mut told = Told::by(&cluster.access(), Some(state.path()));
    assert!(told.next().revision.is_none());
    cluster.define();
    cluster.ask_for("p-1", "IPVS", 7);
    let update = told.until("the settings", |update| update.policy.is_some());
    assert_eq!(mark_bit(&update), Some(7));
    assert_eq!(&*update.revision.unwrap().name, "p-1");

    // The status is not for the source to tell.
    cluster
        .kubectl
        .run(&["annotate", &format!("nsp/{NODE}"), "note=1"])
        .unwrap();
    told.assert_nothing(SILENCE, "the settings are the same");
    cluster.delete(&format!("nsp/{NODE}"));
    told.assert_nothing(SILENCE, "settings stay until there are others");

    let again = Told::by(&cluster.access(), Some(state.path())).next();
    assert_eq!(mark_bit(&again), Some(7), "and over a restart");
    assert_eq!(&*again.revision.unwrap().name, "p-1");
}

#[test]
fn settings_that_cannot_be_read_or_are_wrong_change_nothing() {
    let Some(cluster) = Cluster::start("settings of a newer operator", &[]) else {
        return;
    };
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    cluster.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "nodeserviceproxies.sluice.dev"},
        "spec": {
            "group": "sluice.dev", "scope": "Cluster",
            "names": {"kind": "NodeServiceProxy", "plural": "nodeserviceproxies", "shortNames": ["nsp"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": any}, "subresources": {"status": {}},
            }],
        },
    }));
    cluster.wait_until_defined();
    cluster.ask_for("p-1", "IPTables", 7);
    let state = tempfile::tempdir().unwrap();
    let mut told = Told::by(&cluster.access(), Some(state.path()));
    assert_eq!(mark_bit(&told.next()), Some(7));

    // A mode that this agent does not know, and a bit that no mark has.
    cluster.ask_for("p-2", "Express", 8);
    told.assert_nothing(SILENCE, "nobody knows what mode that is");
    cluster.ask_for("p-3", "IPTables", 99);
    told.assert_nothing(SILENCE, "there is no such bit");
    let again = Told::by(&cluster.access(), Some(state.path())).next();
    assert_eq!(mark_bit(&again), Some(7), "a restart knows the last ones");

    cluster.ask_for("p-4", "IPTables", 9);
    let update = told.until("good settings", |update| update.policy.is_some());
    assert_eq!(mark_bit(&update), Some(9));
}
