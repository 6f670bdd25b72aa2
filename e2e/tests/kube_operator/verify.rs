//! `sluice-operator verify`, as `helm test` runs it: with the operator's rights.

use std::process::Command;

use sluice_e2e::installation::NAMESPACE;

use crate::cluster::{Cluster, OPERATOR, spec};

/// How it ends, and what it says.
fn verify(cluster: &Cluster, wait: u32) -> (bool, String) {
    let kubeconfig = cluster.installation.operator_kubeconfig().unwrap();
    let output = Command::new(OPERATOR)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--namespace", NAMESPACE, "verify", "--wait"])
        .arg(wait.to_string())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn verify_says_what_is_missing_and_at_last_that_all_is_well() {
    let Some(cluster) = Cluster::up("verify") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 2);
    let (is_well, words) = verify(&cluster, 0);
    assert!(!is_well);
    assert!(words.contains("no operator leads"), "{words}");
    assert!(
        words.contains("node edge-2: no operator has told it what to run"),
        "{words}"
    );

    let silent = || cluster.agents.orders.silent.lock().unwrap();
    silent().insert("edge-2".to_owned());
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    let _operator = cluster.operator(&[]);
    cluster.eventually("one node is ready", || {
        cluster.condition("nsp/edge-1", "Programmed", "status") == "True"
    });
    let (is_well, words) = verify(&cluster, 3);
    assert!(!is_well);
    assert!(
        words
            .contains("1 nodes do what they were told\n  node edge-2: no agent of it has answered"),
        "{words}"
    );

    // It waits for who is on the way.
    silent().clear();
    let (is_well, words) = verify(&cluster, 60);
    assert!(is_well, "{words}");
    assert!(words.contains("2 nodes do what they were told"), "{words}");
}
