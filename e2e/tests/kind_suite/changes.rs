//! What happens to a cluster while people use it: restarts and upgrades.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::Cluster;
use sluice_e2e::kind::workload::{Pod, service};

use super::Scenario;
use super::installing::{helm, is_programmed};
use super::lab::{APP, BOTH, ECHO, Lab, PATIENCE, SLUICE, await_pods};
use super::others;
use super::policies::{Policy, assert_nothing_lost, pool};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "every agent is killed at once, no connection fails, and all come back",
        agents_killed,
    ),
    (
        "the operator is killed, nodes serve on, and another one goes on",
        operator_killed,
    ),
    (
        "an upgrade of the chart and the way back fail no connection",
        upgrade_and_rollback,
    ),
    (
        "while no agent runs Services are served, and what changed meanwhile is made up for",
        without_agents,
    ),
    (
        "a node that was restarted serves again, and its new pods are behind Services",
        node_restarted,
    ),
    (
        "the API server is restarted, and no connection fails",
        api_server_restarted,
    ),
];

fn rollout(lab: &Lab) -> anyhow::Result<()> {
    lab.await_agent_pods()?;
    lab.await_nodes("every node is Programmed", PATIENCE, is_programmed)
}

fn restarts(lab: &Lab) -> anyhow::Result<u64> {
    let pods = lab.agent_pods()?;
    let statuses = pods
        .iter()
        .filter_map(|pod| pod["status"]["containerStatuses"].as_array())
        .flatten();
    Ok(statuses
        .filter(|status| status["name"] == "agent")
        .filter_map(|status| status["restartCount"].as_u64())
        .sum())
}

fn agents_killed(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("killed", &json!({}))?;
    let load = lab.client("client-a").load(served.address(0)?)?;
    let before = restarts(lab)?;
    for node in lab.cluster.nodes() {
        lab.cluster
            .on_node(&node.name, &["pkill", "-KILL", "--exact", "sluice-agent"])?;
    }
    let expected = before + lab.cluster.nodes().len() as u64;
    Cluster::eventually("every agent was started again", PATIENCE, || {
        let now = restarts(lab).map_err(|error| error.to_string())?;
        (now == expected)
            .then_some(())
            .ok_or_else(|| format!("{now} restarts, not {expected}"))
    })?;
    rollout(lab)?;
    lab.serve_on_every_node("after-kill")?;
    let now = restarts(lab)?;
    ensure!(now == expected, "{now} restarts in the end, not {expected}");
    assert_nothing_lost(load)
}

fn operator_killed(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("headless-operator", &json!({}))?;
    let load = lab.client("client-b").load(served.address(0)?)?;
    let selector = "app.kubernetes.io/component=operator";
    lab.cluster.kubectl(&[
        "delete",
        "pods",
        "--namespace",
        SLUICE,
        "--selector",
        selector,
        "--grace-period=0",
        "--force",
    ])?;
    lab.serve("without-operator", &json!({}))?;
    let status = [
        "rollout",
        "status",
        "deployment/sluice-operator",
        "--namespace",
        SLUICE,
        "--timeout=120s",
    ];
    lab.cluster.kubectl(&status)?;
    lab.cluster
        .helm(&["test", "sluice", "--namespace", SLUICE])?;
    // Another one decides again: a node is told something new.
    let policy = Policy::apply(lab, "after-kill", &pool("a"), &json!({"mode": "IPTables"}))?;
    policy.wait("Ready")?;
    drop(policy);
    assert_nothing_lost(load)
}

fn upgrade_and_rollback(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("upgraded", &json!({"type": "NodePort"}))?;
    let node = lab.cluster.nodes().last().context("no node")?;
    let loads = [
        lab.client("client-a").load(served.address(0)?)?,
        lab.client("client-b").load(served.address(1)?)?,
        lab.outside()
            .load(SocketAddr::new(node.addresses[0], served.node_port("TCP")?))?,
    ];
    let agents = lab.agents()?;
    helm(
        lab,
        "upgrade",
        &["agent.logLevel=debug", "agent.maxUnavailable=1"],
    )?;
    rollout(lab)?;
    let upgraded = lab.agents()?;
    ensure!(
        agents.iter().all(|agent| !upgraded.contains(agent)),
        "not every agent was replaced: {upgraded:?}"
    );
    lab.cluster
        .helm(&["rollback", "sluice", "--namespace", SLUICE])?;
    rollout(lab)?;
    for load in loads {
        assert_nothing_lost(load)?;
    }
    Ok(())
}

fn without_agents(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("agentless", &json!({}))?;
    let load = lab.client("client-a").load(served.address(0)?)?;
    let no_agents = lab.take_agents_off()?;
    let pod = Pod {
        name: "late",
        pool: "a",
        app: "late",
        host_network: false,
    };
    let objects = [service(ECHO, "late", APP, &json!({})), pod.object(ECHO)];
    let applied = lab.cluster.apply(&objects).and_then(|()| {
        let ready = [
            "wait",
            "--namespace",
            ECHO,
            "--for=condition=Ready",
            "pod/late",
            "--timeout=60s",
        ];
        lab.cluster.kubectl(&ready)
    });
    drop(no_agents);
    applied.context("what came while no agent ran")?;
    rollout(lab)?;
    lab.serve("late", &json!({}))?;
    let itself = lab.serve("late-itself", &json!({"selector": {"app": "late"}}))?;
    await_pods(lab.client("late"), "tcp", itself.address(0)?, &["late"])
        .context("the pod that was attached without an agent")?;
    lab.cluster
        .kubectl(&["delete", "pod", "late", "--namespace", ECHO, "--wait=false"])?;
    assert_nothing_lost(load)
}

fn node_restarted(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("restarted", &json!({"type": "NodePort"}))?;
    let node = lab.node("b")?;
    let started_at = || -> anyhow::Result<Value> {
        let pod = lab.cluster.get(&["pod", "echo-b", "--namespace", ECHO])?;
        Ok(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone())
    };
    let before = started_at()?;
    lab.cluster.restart(node)?;
    others::plant_on(lab, node)?;
    Cluster::eventually("its pods run again", PATIENCE * 2, || {
        let now = started_at().map_err(|error| error.to_string())?;
        (now != before && !now.is_null())
            .then_some(())
            .ok_or_else(|| now.to_string())
    })?;
    lab.cluster.kubectl(&[
        "wait",
        "--namespace",
        ECHO,
        "--for=condition=Ready",
        "pods",
        "--all",
        "--timeout=60s",
    ])?;
    rollout(lab)?;
    let address = SocketAddr::new(node.addresses[0], served.node_port("TCP")?);
    let askers = [
        (lab.outside(), address),
        (lab.client("client-a"), served.address(0)?),
        (lab.client("client-b"), served.address(1)?),
    ];
    for (asker, to) in askers {
        await_pods(asker, "tcp", to, &BOTH)?;
    }
    Ok(())
}

fn api_server_restarted(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("no-api", &json!({"type": "NodePort"}))?;
    let node = lab.cluster.nodes().last().context("no node")?;
    let load = lab
        .outside()
        .load(SocketAddr::new(node.addresses[0], served.node_port("TCP")?))?;
    let control_plane = lab.cluster.nodes().first().context("no node")?;
    lab.cluster
        .on_node(&control_plane.name, &["pkill", "-KILL", "kube-apiserver"])?;
    let ready = ["get", "--raw", "/readyz"];
    Cluster::eventually("the API server is back", PATIENCE * 2, || {
        lab.cluster
            .kubectl(&ready)
            .map_err(|error| error.to_string())
    })?;
    // Not before the agents' watches are: this asks for a Service that is new.
    lab.serve_on_every_node("after-api")?;
    assert_nothing_lost(load)
}
