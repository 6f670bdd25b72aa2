//! An API server that an agent may not write to, or does not trust: what serves goes on, and it is said what to change.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use sluice_e2e::lab::places::{A1, A2, A3};

use crate::cluster::Cluster;
use crate::nodes::{Node, assert_nothing_lost};

/// What the agents' role lets them do with statuses.
fn let_write_statuses(cluster: &Cluster, verb: &str) {
    let role = ["get", "clusterrole", "sluice-agent", "-o", "json"];
    let role = cluster.kubectl().run(&role).unwrap();
    let mut role: serde_json::Value = serde_json::from_str(&role).unwrap();
    let mut rules = role["rules"].as_array_mut().unwrap().iter_mut();
    let of_statuses = rules.find(|rule| rule["resources"][0] == "nodeserviceproxies/status");
    of_statuses.unwrap()["verbs"] = json!([verb]);
    let replace = ["replace", "-f", "-"];
    let replaced = cluster
        .kubectl()
        .run_with_input(&replace, &role.to_string());
    replaced.unwrap();
}

fn policy(cluster: &Cluster, variant: &str) {
    let spec = json!({"iptables": {"variant": variant}, "mode": "IPTables"});
    cluster.policy("all", &spec);
}

#[test]
fn an_agent_that_may_not_write_its_status_serves_on_says_so_once_and_recovers() {
    let Some(cluster) = Cluster::up("statuses refused") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    policy(&cluster, "NFT");
    let node = Node::up(&cluster, "node-1", &[]);
    cluster.wait_for_condition(&node.object(), "Programmed");
    let loads = node.load();
    let refusals = || {
        let name = "sluice_api_status_refusals_total";
        node.agent.metric(node.lab.node(), name).unwrap()
    };
    assert!(refusals() < 0.5);

    let_write_statuses(&cluster, "get");
    policy(&cluster, "Legacy");
    cluster.eventually("new settings are in force", || node.has_only("legacy"));
    cluster.serve(2, &[A3]);
    node.wait_until_served(&cluster, 2);
    cluster.eventually("refusals are counted", || refusals() > 2.5);
    let observed = || {
        let path = ".status.conditions[?(@.type==\"Programmed\")].observedGeneration";
        cluster.field(&node.object(), path)
    };
    let generation = || cluster.field(&node.object(), ".metadata.generation");
    assert_ne!(observed(), generation());
    let said = "the status of this node cannot be written";
    let log = node.agent.log();
    // It says so again only after it said something else.
    let (refused, other): (Vec<&str>, Vec<&str>) = log
        .lines()
        .filter(|line| line.contains(said))
        .partition(|line| line.contains("nodeserviceproxies/status"));
    assert!((1..=1 + other.len()).contains(&refused.len()), "{log}");

    let_write_statuses(&cluster, "patch");
    cluster.eventually("the status is written again", || {
        observed() == generation()
            && cluster.condition(&node.object(), "Programmed", "status") == "True"
    });
    cluster.eventually("the agent says so", || {
        node.agent.log().contains("is written again")
    });
    assert_nothing_lost(loads);
}

#[test]
fn an_agent_that_does_not_trust_the_api_server_serves_on_and_recovers_when_the_file_is_mended() {
    let Some(cluster) = Cluster::up("an agent with another authority") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    policy(&cluster, "Legacy");
    let mut node = Node::up(&cluster, "node-1", &[]);
    cluster.eventually("the policy is in force", || node.has_only("legacy"));
    let loads = node.load();
    let installation = &cluster.installation;
    let kubeconfig = installation.agent_kubeconfig("node-1").unwrap();
    let distrust = installation.control_plane.distrust(&kubeconfig).unwrap();
    node.agent.kill().unwrap();
    node.agent.set_kubeconfig(&distrust.kubeconfig);
    node.start_agent();
    let remedy = format!(
        "signed by unknown authority: check certificate-authority in {}",
        distrust.kubeconfig.display()
    );
    cluster.eventually("it says what to check", || {
        node.agent.log().contains(&remedy)
    });
    sleep(Duration::from_secs(5));
    assert!(node.serves(1));
    let is_there = node.agent.health(node.lab.node()).unwrap();
    assert!(!is_there.is_empty(), "it has ended: {}", node.agent.log());
    assert!(node.has_only("legacy"));

    cluster.serve(2, &[A3]);
    distrust.mend().unwrap();
    // Within a minute it reads the file again.
    sleep(Duration::from_secs(60));
    node.wait_until_served(&cluster, 2);
    node.wait_until_healthy(&cluster);
    assert_nothing_lost(loads);
}
