//! The chart, as its users install it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::lab::{Lab, PATIENCE, SLUICE, project, start_pods};
use super::others;
use sluice_e2e::kind::Cluster;
use sluice_e2e::lab::pace::stretched;

/// From `helm install` to the last node, with the images on the nodes.
const PROGRAMMED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn helm_install(lab: &Lab) -> anyhow::Result<()> {
    others::plant(lab)?;
    // As Kubespray leaves its nodes: not root's, so root alone may not write there.
    if let Some(worker) = lab.cluster.nodes().last() {
        let give = ["chown", "997", "/etc/cni/net.d", "/opt/cni/bin"];
        lab.cluster.on_node(&worker.name, &give)?;
    }
    let started = Instant::now();
    // Where IPVS is to run, agents may load what it needs.
    let loads_modules = sluice_e2e::packets::ipvs::is_promised();
    let loads_modules = format!("agent.loadKernelModules={loads_modules}");
    helm(lab, "install", &[&loads_modules])?;
    lab.await_nodes(
        "every node is Programmed",
        PROGRAMMED_WITHIN * 2,
        is_programmed,
    )?;
    let took = started.elapsed();
    eprintln!(
        "{:6.1} s  from helm install to the last node Programmed",
        took.as_secs_f64()
    );
    ensure!(
        took < stretched(PROGRAMMED_WITHIN),
        "every node was Programmed after {} s",
        took.as_secs()
    );
    // Pods that are attached before a node's plugin is in place would be attached without it.
    lab.await_agent_pods()?;
    for node in lab.cluster.nodes() {
        let what = format!("{} attaches pods by the plugin", node.name);
        Cluster::eventually(&what, PATIENCE, || {
            let names = ["grep", "sluice-cni", "/etc/cni/net.d/50-pods.conflist"];
            let named = lab.cluster.on_node(&node.name, &names);
            named.map_err(|error| error.to_string())
        })?;
    }
    start_pods(lab)
}

/// Installs or upgrades with these values beside those that every installation needs.
pub(crate) fn helm(lab: &Lab, verb: &str, values: &[&str]) -> anyhow::Result<()> {
    let chart = project().join("charts/sluice").display().to_string();
    let control_plane = lab.cluster.nodes().first().context("no node")?;
    let api_server = format!("apiServer.host={}", control_plane.addresses[0]);
    let mut arguments = vec![
        verb,
        "sluice",
        &chart,
        "--namespace",
        SLUICE,
        "--set",
        &api_server,
    ];
    if verb == "install" {
        arguments.push("--create-namespace");
    }
    for value in values {
        arguments.extend(["--set", value]);
    }
    lab.cluster.helm(&arguments)?;
    Ok(())
}

/// Whether an agent says of its node that it does what it was told.
pub(crate) fn is_programmed(proxy: &Value) -> bool {
    has_condition(proxy, "Programmed", "True")
        && proxy["status"]["observedRevision"] == proxy["spec"]["revision"]
}

/// Whether an object has a condition of this kind with this status.
pub(crate) fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == kind && condition["status"] == status)
}
