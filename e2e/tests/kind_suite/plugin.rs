//! `kubectl sluice` against agents that run in pods.

use anyhow::ensure;
use serde_json::json;
use sluice_e2e::kind::workload::service;
use sluice_e2e::kind::{Cluster, KindError, Node};

use super::Scenario;
use super::lab::{APP, ECHO, Lab, PATIENCE};

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "kubectl sluice diff tells in a node's own words what its kernel lacks, and that nothing does",
    diff,
)];

/// Runs the plugin with the administrator's rights; an error where its exit code is not 0.
pub(crate) fn plugin(lab: &Lab, arguments: &[&str]) -> Result<String, KindError> {
    let program = env!("CARGO_BIN_EXE_kubectl-sluice-under-test");
    lab.cluster.daemon().run(program, arguments)
}

/// Waits until every node's kernel holds what it should.
pub(crate) fn await_no_difference(lab: &Lab) -> anyhow::Result<()> {
    for node in lab.cluster.nodes() {
        let what = format!("nothing differs on {}", node.name);
        Cluster::eventually(&what, PATIENCE, || {
            plugin(lab, &["diff", "--node", &node.name]).map_err(|error| error.to_string())
        })?;
    }
    Ok(())
}

fn diff(lab: &Lab) -> anyhow::Result<()> {
    await_no_difference(lab)?;
    let node = lab.node("a")?;
    let stopped = StoppedAgent::new(lab, node)?;
    lab.cluster
        .apply(&[service(ECHO, "unseen", APP, &json!({}))])?;
    let told = Cluster::eventually("diff tells what the kernel lacks", PATIENCE, || {
        let said = plugin(lab, &["diff", "--node", &node.name]);
        let said = said.err().map(|error| error.to_string());
        said.filter(|said| said.contains("echo/unseen") || said.contains("SLUICE-"))
            .ok_or_else(|| "no difference".to_owned())
    })?;
    ensure!(told.contains("differs"), "{told}");
    drop(stopped);
    await_no_difference(lab)?;
    lab.cluster
        .kubectl(&["delete", "service", "unseen", "--namespace", ECHO])?;
    Ok(())
}

/// An agent that does nothing until the end of the value.
struct StoppedAgent<'a> {
    lab: &'a Lab,
    node: &'a Node,
}

impl<'a> StoppedAgent<'a> {
    fn new(lab: &'a Lab, node: &'a Node) -> Result<Self, KindError> {
        let stopped = Self { lab, node };
        stopped.signal("-STOP")?;
        Ok(stopped)
    }

    fn signal(&self, signal: &str) -> Result<(), KindError> {
        let command = ["pkill", signal, "--exact", "sluice-agent"];
        self.lab
            .cluster
            .on_node(&self.node.name, &command)
            .map(drop)
    }
}

impl Drop for StoppedAgent<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.signal("-CONT") {
            eprintln!("{error}");
        }
    }
}
