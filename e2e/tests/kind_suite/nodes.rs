//! Nodes that go, come back, and are not ready before they can be.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::workload::Pod;
use sluice_e2e::kind::{Cluster, Node};

use super::Scenario;
use super::installing::is_programmed;
use super::lab::{BOTH, ECHO, Lab, PATIENCE, await_pods, start_pods};
use super::others;
use super::policies::{Policy, assert_nothing_lost, pool};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "a node is not ready before its first agent has synced",
        not_ready_without_agent,
    ),
    (
        "a node that is deleted is forgotten while the others serve on, and comes back to its policy",
        deleted,
    ),
];

fn not_ready_without_agent(lab: &Lab) -> anyhow::Result<()> {
    let node = lab.node("b")?;
    let no_agents = lab.take_agents_off()?;
    lab.cluster.restart(node)?;
    others::plant_on(lab, node)?;
    Cluster::eventually("the node says what it waits for", PATIENCE * 2, || {
        let ready = ready(lab, node)?;
        let says_why = ready["message"]
            .as_str()
            .is_some_and(|message| message.contains("the agent has not synced"));
        (ready["status"] == "False" && says_why)
            .then_some(())
            .ok_or_else(|| ready.to_string())
    })?;
    drop(no_agents);
    Cluster::eventually("it is ready", PATIENCE, || {
        let ready = ready(lab, node)?;
        (ready["status"] == "True")
            .then_some(())
            .ok_or_else(|| ready.to_string())
    })?;
    lab.await_agent_pods()?;
    lab.await_nodes("every node is Programmed", PATIENCE, is_programmed)?;
    both_pods_serve(lab, "ready-again")
}

fn deleted(lab: &Lab) -> anyhow::Result<()> {
    let node = lab.node("b")?;
    let policy = Policy::apply(
        lab,
        "of-the-deleted",
        &pool("b"),
        &json!({"mode": "IPTables"}),
    )?;
    policy.wait("Ready")?;
    let keeper = Pod {
        name: "keeper",
        pool: "a",
        app: "keeper",
        host_network: false,
    };
    lab.cluster.start_pods(ECHO, &[keeper])?;
    let of_keeper = json!({"type": "NodePort", "selector": {"app": "keeper"}});
    let served = lab.serve("kept", &of_keeper)?;
    let port = served.node_port("TCP")?;
    let control_plane = lab.node("control")?;
    let loads = [
        lab.client("client-a").load(served.address(0)?)?,
        lab.outside()
            .load(SocketAddr::new(control_plane.addresses[1], port))?,
    ];
    lab.cluster.kubectl(&["delete", "node", &node.name])?;
    let known = ["get", "nodeserviceproxies", "--output=name"];
    Cluster::eventually("the operator has forgotten the node", PATIENCE, || {
        let known = lab.cluster.kubectl(&known);
        let known = known.map_err(|error| error.to_string())?;
        let is_known = known
            .lines()
            .any(|name| name.ends_with(&format!("/{}", node.name)));
        (!is_known).then_some(()).ok_or(known)
    })?;
    Cluster::eventually("its policy has no node", PATIENCE, || {
        let status = policy.object().map_err(|error| error.to_string())?["status"].clone();
        (status["matchedNodes"] == 0)
            .then_some(())
            .ok_or_else(|| status.to_string())
    })?;
    policy.wait("Ready")?;
    lab.serve("new-meanwhile", &of_keeper)?;
    for load in loads {
        assert_nothing_lost(load)?;
    }

    lab.cluster.rejoin(node)?;
    others::plant_on(lab, node)?;
    lab.await_nodes("every node is Programmed", PATIENCE * 2, is_programmed)?;
    let proxy = lab.cluster.get(&["nodeserviceproxy", &node.name])?;
    ensure!(
        proxy["spec"]["policy"] == "of-the-deleted",
        "{}",
        proxy["spec"]
    );
    start_pods(lab)?;
    both_pods_serve(lab, "came-back")?;
    lab.cluster.kubectl(&[
        "delete",
        "pod",
        "keeper",
        "--namespace",
        ECHO,
        "--wait=false",
    ])?;
    Ok(())
}

/// The node's condition of that kind; null where there is none.
fn ready(lab: &Lab, node: &Node) -> Result<Value, String> {
    let object = lab.cluster.get(&["node", &node.name]);
    let object = object.map_err(|error| error.to_string())?;
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    Ok(ready.cloned().unwrap_or_default())
}

/// A new Service has the pods of both workers, for a pod of each, as soon as these run again.
fn both_pods_serve(lab: &Lab, name: &str) -> anyhow::Result<()> {
    let served = Cluster::eventually("a new Service is served", PATIENCE, || {
        lab.serve(name, &json!({}))
            .map_err(|error| format!("{error:#}"))
    })?;
    let to = served.address(0).context(name.to_owned())?;
    for client in ["client-a", "client-b"] {
        await_pods(lab.client(client), "tcp", to, &BOTH)?;
    }
    Ok(())
}
