//! Many policies.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, spec};

#[test]
fn a_thousand_policies_are_told_what_became_of_them() {
    let Some(cluster) = Cluster::up("many policies") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 5);
    let _operator = cluster.operator(&[]);
    cluster.policy("first", &spec("edge", "IPTables", 1));
    cluster.wait_for("spp/first", "Ready");
    let policies: Vec<Value> = (0..1000)
        .map(|n| {
            json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy",
                "metadata": {"name": format!("policy-{n:04}")}, "spec": spec("edge", "IPTables", 1),
            })
        })
        .collect();
    let begun = Instant::now();
    cluster.installation.apply(&policies).unwrap();
    let applied = begun.elapsed();
    let patience = Duration::from_secs(300);
    cluster.within(patience, "each is told that it is overridden", || {
        // A look costs the API server much.
        std::thread::sleep(Duration::from_secs(1));
        let path = "-o=jsonpath={.items[*].status.conditions[?(@.type==\"Accepted\")].reason}";
        let reasons = cluster.kubectl().run(&["get", "spp", path]).unwrap();
        reasons
            .split(' ')
            .filter(|reason| *reason == "Overridden")
            .count()
            == 1000
    });
    println!(
        "1000 policies applied in {:.1} s, all told {:.1} s later",
        applied.as_secs_f64(),
        begun.elapsed().saturating_sub(applied).as_secs_f64()
    );
    assert_eq!(cluster.field("nsp/edge-1", ".spec.policy"), "first");
}
