//! From kube-proxy to Sluice and back, step by step as `docs/migrate-from-kube-proxy.md` says.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::Cluster;

use super::Scenario;
use super::installing::{helm, is_programmed};
use super::lab::{Lab, PATIENCE, SLUICE};
use super::plugin::{await_no_difference, plugin};
use super::policies::assert_nothing_lost;
use super::uninstalling;

/// In a cluster without any service proxy.
pub(crate) const SCENARIOS: &[Scenario] = &[(
    "a cluster moves from kube-proxy to Sluice and back, and no connection fails",
    there_and_back,
)];

fn there_and_back(lab: &Lab) -> anyhow::Result<()> {
    lab.cluster.add_kube_proxy()?;
    let served = lab.serve("moved", &json!({"type": "NodePort"}))?;
    let port = served.node_port("TCP")?;
    let by_node = |pool: &str, family: usize| -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(lab.node(pool)?.addresses[family], port))
    };
    for node in lab.cluster.nodes() {
        let to = SocketAddr::new(node.addresses[0], port);
        Cluster::eventually("kube-proxy serves on every node", PATIENCE, || {
            let reached = lab.outside().reached("tcp", to, 4);
            reached.map_err(|error| error.to_string())
        })?;
    }
    let loads = [
        lab.client("client-a").load(served.address(0)?)?,
        lab.client("client-b").load(served.address(1)?)?,
        lab.outside().load(by_node("a", 0)?)?,
        lab.outside().load(by_node("control", 1)?)?,
    ];
    // Whatever comes to pass, no load may outlive the scenario.
    let moved = move_to_sluice(lab).and_then(|()| move_back(lab));
    let kept: Vec<anyhow::Result<()>> = loads.into_iter().map(assert_nothing_lost).collect();
    moved?;
    kept.into_iter().collect()
}

fn move_to_sluice(lab: &Lab) -> anyhow::Result<()> {
    let advice: Value = serde_json::from_str(&plugin(lab, &["migrate", "--output=json"])?)?;
    let control_plane = lab.node("control")?;
    ensure!(
        advice["apiServer"]["host"] == control_plane.addresses[0].to_string(),
        "{advice}"
    );
    let beside = ["agent.healthPort=20256", "agent.metrics.port=20249"];
    helm(lab, "install", &beside)?;
    let manifest = advice["manifest"].as_str().context("no policy")?;
    let apply = ["apply", "--filename", "-"];
    lab.cluster
        .daemon()
        .run_with_input("kubectl", &apply, manifest.as_bytes())?;
    lab.await_nodes("every node is Programmed", PATIENCE, is_programmed)?;
    Cluster::eventually("nothing is wrong", PATIENCE, || {
        plugin(lab, &["status"]).map_err(|error| error.to_string())
    })?;
    await_no_difference(lab)?;

    let agents = lab.agents()?;
    let agent = agents.first().context("no agent")?;
    let refused = clean_up(lab, agent, &[]).err();
    let refused = refused.map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("kube-proxy"), "while it runs: {refused}");

    put_kube_proxy_on(lab, &json!("here"))?;
    Cluster::eventually("kube-proxy runs nowhere", PATIENCE, || {
        let pods = [
            "get",
            "pods",
            "--namespace=kube-system",
            "--selector=k8s-app=kube-proxy",
            "--output=name",
        ];
        let pods = lab
            .cluster
            .kubectl(&pods)
            .map_err(|error| error.to_string())?;
        pods.trim().is_empty().then_some(()).ok_or(pods)
    })?;
    for agent in &agents {
        let listed = clean_up(lab, agent, &["--dry-run"])?;
        ensure!(listed.contains("KUBE-SERVICES"), "{agent}: {listed}");
        clean_up(lab, agent, &[])?;
    }
    for (node, rules) in rules(lab)? {
        ensure!(!rules.contains("KUBE-SVC"), "{node}:\n{rules}");
    }
    lab.serve("after-the-move", &json!({}))?;
    Ok(())
}

fn move_back(lab: &Lab) -> anyhow::Result<()> {
    put_kube_proxy_on(lab, &Value::Null)?;
    lab.cluster.await_kube_proxy()?;
    // It says that it is healthy from the start.
    Cluster::eventually("kube-proxy's rules are there", PATIENCE, || {
        let rules = rules(lab).map_err(|error| error.to_string())?;
        let without = rules
            .iter()
            .find(|(_, rules)| !rules.contains("echo/moved:tcp"));
        without.map_or(Ok(()), |(node, _)| Err(format!("not on {node}")))
    })?;
    uninstalling::nothing_is_left(lab)?;
    lab.cluster
        .kubectl(&["delete", "serviceproxypolicies", "--all"])?;
    lab.serve("after-the-way-back", &json!({}))?;
    Ok(())
}

fn clean_up(lab: &Lab, agent: &str, more: &[&str]) -> anyhow::Result<String> {
    let command = [
        "exec",
        "--namespace",
        SLUICE,
        agent,
        "--container=agent",
        "--",
        "sluice-agent",
        "cleanup",
        "--kube-proxy",
    ];
    Ok(lab.cluster.kubectl(&[&command[..], more].concat())?)
}

/// On nodes with this label, which none has; null is all.
fn put_kube_proxy_on(lab: &Lab, label: &Value) -> anyhow::Result<()> {
    let selector = json!({"sluice.dev/kube-proxy": label});
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": selector}}}}).to_string();
    let command = [
        "patch",
        "daemonset",
        "kube-proxy",
        "--namespace=kube-system",
        "--type=merge",
        "--patch",
        &patch,
    ];
    lab.cluster.kubectl(&command)?;
    Ok(())
}

/// The translations of IPv4 of each node.
fn rules(lab: &Lab) -> anyhow::Result<Vec<(&str, String)>> {
    let nodes = lab.cluster.nodes().iter();
    let rules = nodes.map(|node| {
        let rules = lab
            .cluster
            .on_node(&node.name, &["iptables-save", "-t", "nat"])?;
        Ok((node.name.as_str(), rules))
    });
    rules.collect()
}
