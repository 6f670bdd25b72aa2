//! A change of a policy moves its nodes step by step, and back where one cannot follow.

use serde_json::{Value, json};
use sluice_e2e::lab::places::{A1, A2};
use sluice_e2e::packets::ipvs;

use crate::cluster::Cluster;
use crate::nodes::{Node, assert_nothing_lost};

fn spec(mode: &str, variant: &str) -> Value {
    json!({
        "mode": mode,
        "iptables": {"variant": variant},
        "rollout": {"maxUnavailable": 1, "minReadySeconds": 1, "progressDeadlineSeconds": 120},
    })
}

#[test]
fn a_rollout_stops_at_a_node_that_cannot_follow_goes_back_and_goes_on_after_a_fix() {
    if ipvs::missing().is_none() {
        // Every node of a kernel with IPVS can follow. `every_node_of_a_pool_changes_its_mode` is for those.
        return;
    }
    let Some(cluster) = Cluster::up("a rollout that fails") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.policy("all", &spec("IPTables", "NFT"));
    let nodes: Vec<Node> = (1..=3)
        .map(|n| Node::up(&cluster, &format!("node-{n}"), &[]))
        .collect();
    cluster.wait_until_ready("spp/all", nodes.len());
    let first = cluster.field("spp/all", ".status.currentRevision");
    let loads: Vec<_> = nodes.iter().map(Node::load).collect();

    cluster.policy("all", &spec("IPVS", "NFT"));
    cluster.wait_for_condition("spp/all", "Stalled");
    cluster.eventually("every node is where it was", || {
        nodes.iter().all(|node| {
            cluster.field(&node.object(), ".spec.revision") == first
                && cluster.condition(&node.object(), "Programmed", "status") == "True"
                && node.active_mode(&cluster) == "IPTables"
        })
    });
    let message = cluster.condition("spp/all", "Stalled", "message");
    assert!(message.contains("node-"), "{message}");
    eprintln!("Stalled: {message}");
    let rejected = cluster.field("spp/all", ".status.rejectedRevision");
    assert!(!rejected.is_empty() && rejected != first, "{rejected}");
    let describe = cluster.kubectl().run(&["describe", "spp/all"]).unwrap();
    assert!(describe.contains("Warning"), "{describe}");

    cluster.policy("all", &spec("IPTables", "Legacy"));
    cluster.wait_for_condition("spp/all", "Ready");
    cluster.eventually("every node has moved", || {
        nodes.iter().all(|node| node.has_only("legacy"))
    });
    assert_eq!(cluster.condition("spp/all", "Stalled", "status"), "False");
    for loads in loads {
        assert_nothing_lost(loads);
    }
}

#[test]
fn every_node_of_a_pool_changes_its_mode_step_by_step_while_connections_go_on() {
    if let Some(reason) = ipvs::missing() {
        eprintln!("left to the VM lab: {reason}");
        return;
    }
    let Some(cluster) = Cluster::up("a rollout of IPVS") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.policy("all", &spec("IPTables", "NFT"));
    let other = json!({
        "mode": "IPTables", "priority": 10, "nodeSelector": {"matchLabels": {"pool": "other"}},
        "rollout": {"minReadySeconds": 0},
    });
    cluster.policy("other", &other);
    let nodes = ["node-1", "node-2"].map(|name| Node::up(&cluster, name, &[]));
    let other = Node::up(&cluster, "other-1", &[("pool", "other")]);
    cluster.wait_until_ready("spp/all", nodes.len());
    let loads: Vec<_> = nodes.iter().chain([&other]).map(Node::load).collect();
    for mode in ["IPVS", "IPTables"] {
        cluster.policy("all", &spec(mode, "NFT"));
        cluster.eventually("both nodes have the mode", || {
            nodes.iter().all(|node| {
                // One at a time: never both on their way.
                node.active_mode(&cluster) == mode
                    && cluster.condition(&node.object(), "Programmed", "status") == "True"
            })
        });
        cluster.wait_for_condition("spp/all", "Ready");
        assert_eq!(cluster.field("spp/all", ".status.modes[0].mode"), mode);
        assert_eq!(other.active_mode(&cluster), "IPTables");
    }
    for loads in loads {
        assert_nothing_lost(loads);
    }
}
