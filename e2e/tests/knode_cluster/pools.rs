//! Pools of nodes, each with a policy of its own.

use serde_json::json;
use sluice_e2e::lab::places::{A1, A2, A3};

use crate::cluster::Cluster;
use crate::nodes::{Node, assert_nothing_lost};

fn quick(spec: &serde_json::Value) -> serde_json::Value {
    let mut spec = spec.clone();
    spec["rollout"]["minReadySeconds"] = json!(0);
    spec
}

#[test]
fn pools_differ_and_a_node_that_changes_its_pool_changes_its_data_plane_while_connections_go_on() {
    let Some(cluster) = Cluster::up("pools") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.policy(
        "everything",
        &quick(&json!({"mode": "IPTables", "iptables": {"variant": "NFT"}})),
    );
    cluster.policy(
        "edge",
        &quick(&json!({
            "priority": 10,
            "nodeSelector": {"matchLabels": {"pool": "edge"}},
            "mode": "IPTables",
            "iptables": {"variant": "Legacy"},
        })),
    );
    let edge = Node::up(&cluster, "edge-1", &[("pool", "edge")]);
    let inner = Node::up(&cluster, "inner-1", &[("pool", "inner")]);
    for policy in ["spp/edge", "spp/everything"] {
        cluster.wait_until_ready(policy, 1);
    }
    cluster.eventually("the pools differ", || {
        edge.has_only("legacy") && inner.has_only("nft")
    });
    assert_eq!(cluster.field("nsp/edge-1", ".spec.policy"), "edge");
    assert_eq!(cluster.field("nsp/inner-1", ".spec.policy"), "everything");
    assert_eq!(cluster.field("spp/edge", ".status.matchedNodes"), "1");
    let table = cluster.kubectl().run(&["get", "spp,nsp"]).unwrap();
    eprintln!("{table}");

    let loads = [edge.load(), inner.load()];
    let label = ["label", "node", "inner-1", "pool=edge", "--overwrite"];
    cluster.kubectl().run(&label).unwrap();
    cluster.eventually("the node took the other pool's policy", || {
        inner.has_only("legacy")
    });
    cluster.eventually("it says so", || {
        cluster.condition("nsp/inner-1", "Programmed", "status") == "True"
            && cluster.field("nsp/inner-1", ".spec.policy") == "edge"
    });
    // The policy goes: what it selected goes back to what then counts.
    cluster.kubectl().run(&["delete", "spp/edge"]).unwrap();
    cluster.eventually("both nodes went back", || {
        edge.has_only("nft") && inner.has_only("nft")
    });
    cluster.wait_until_ready("spp/everything", 2);
    // Services go on changing meanwhile.
    cluster.serve(1, &[A3]);
    cluster.eventually("changes arrive", || {
        [&edge, &inner]
            .iter()
            .all(|node| node.answers(1).as_deref() == Some(A3.name))
    });
    for loads in loads {
        assert_nothing_lost(loads);
    }
}
