//! What `kubectl sluice status` tells of rollouts while they happen.

use std::path::Path;

use sluice_e2e::kubectl_plugin::KubectlPlugin;

use crate::cluster::{Cluster, spec};

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-sluice-under-test");

fn plugin(cluster: &Cluster) -> KubectlPlugin {
    let kubeconfig = cluster.installation.control_plane.kubeconfig();
    KubectlPlugin::new(Path::new(PLUGIN), &kubeconfig)
}

#[test]
fn the_plugin_tells_of_a_rollout_that_goes_well_is_paused_fails_and_of_an_operator_that_is_gone() {
    let Some(cluster) = Cluster::up("status of rollouts") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 3);
    cluster.agents.orders.no_ipvs_on("edge-2");
    let operator = cluster.operator(&["--identity=the-operator"]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 3);
    let plugin = plugin(&cluster);
    let well = plugin.run(&["status"]).unwrap();
    assert_eq!(well.code, Some(0), "{} {}", well.stdout, well.stderr);
    for words in [
        "edge    IPTables  3      3        3      3 IPTables  ready:",
        "3 of 3 nodes are ready",
        "Operator: the-operator leads (namespace sluice-system)",
        "Nothing is wrong.",
    ] {
        assert!(well.stdout.contains(words), "{words} in {}", well.stdout);
    }
    assert!(!well.stdout.contains('\u{1b}'), "no terminal, no colour");

    let mut paused = spec("edge", "IPTables", 2);
    paused["rollout"]["paused"] = true.into();
    cluster.policy("edge", &paused);
    cluster.eventually("it is paused", || {
        cluster.condition("spp/edge", "Reconciling", "reason") == "Paused"
    });
    let (status, said) = plugin.json(&["status"]).unwrap();
    assert_eq!(status["policies"][0]["state"], "Paused", "{status}");
    assert_eq!((&status["healthy"], said.code), (&true.into(), Some(0)));

    cluster.policy("edge", &spec("edge", "IPVS", 1));
    cluster.wait_for("spp/edge", "Stalled");
    cluster.eventually("it is rolled back, with the node that cannot", || {
        let (status, said) = plugin.json(&["status"]).unwrap();
        let policy = &status["policies"][0];
        policy["state"] == "RolledBack"
            && policy["message"]
                .as_str()
                .is_some_and(|message| message.contains("edge-2: the kernel has no IPVS"))
            && said.code == Some(1)
    });

    // Mended, the operator gone, and a policy that nobody looks at.
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_for("spp/edge", "Ready");
    drop(operator);
    cluster.policy("late", &spec("nowhere", "IPTables", 1));
    let late = plugin.run(&["status"]).unwrap();
    assert_eq!(late.code, Some(1), "{}", late.stdout);
    let words = "not looked at: no operator has looked at its present spec";
    assert!(late.stdout.contains(words), "{}", late.stdout);
    cluster.kubectl().run(&["delete", "spp/late"]).unwrap();

    cluster.add_nodes("new", "edge", 1);
    let untold = plugin.run(&["status"]).unwrap();
    assert!(
        untold.stdout.contains("wrong  new-1: NotTold"),
        "{}",
        untold.stdout
    );
}
