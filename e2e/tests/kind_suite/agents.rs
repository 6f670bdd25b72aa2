//! The agents' pods: who they are, and nodes without.

use serde_json::{Value, json};
use sluice_e2e::kind::{Cluster, KindError, time_limit};

use super::lab::{Lab, PATIENCE, SLUICE};

const LABEL: &str = "app.kubernetes.io/component=agent";

/// No node has an agent; with the end of the value every node has one again.
pub(crate) struct NoAgents<'a> {
    lab: &'a Lab,
}

impl Lab {
    /// The agents' pods, as the API has them.
    pub(crate) fn agent_pods(&self) -> Result<Vec<Value>, KindError> {
        let pods = ["pods", "--namespace", SLUICE, "--selector", LABEL];
        let list = self.cluster.get(&pods)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Their names.
    pub(crate) fn agents(&self) -> Result<Vec<String>, KindError> {
        let pods = self.agent_pods()?;
        let names = pods
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    /// Waits until every node's agent pod is of the present template, and ready.
    pub(crate) fn await_agent_pods(&self) -> anyhow::Result<()> {
        let status = [
            "rollout",
            "status",
            "daemonset/sluice-agent",
            "--namespace",
            SLUICE,
            &time_limit(120),
        ];
        self.cluster.kubectl(&status)?;
        Ok(())
    }

    /// Takes the agents off every node, which serve on.
    pub(crate) fn take_agents_off(&self) -> anyhow::Result<NoAgents<'_>> {
        let gone = NoAgents { lab: self };
        gone.put_on(&json!("none"))?;
        Cluster::eventually("no agent runs", PATIENCE, || {
            let agents = self.agents().map_err(|error| error.to_string())?;
            agents
                .is_empty()
                .then_some(())
                .ok_or_else(|| format!("{agents:?}"))
        })?;
        Ok(gone)
    }
}

impl NoAgents<'_> {
    /// On nodes of a pool; null is all.
    fn put_on(&self, pool: &Value) -> Result<(), KindError> {
        let patch =
            json!({"spec": {"template": {"spec": {"nodeSelector": {"pool": pool}}}}}).to_string();
        let command = [
            "patch",
            "daemonset",
            "sluice-agent",
            "--namespace",
            SLUICE,
            "--type=merge",
            "--patch",
            &patch,
        ];
        self.lab.cluster.kubectl(&command).map(drop)
    }
}

impl Drop for NoAgents<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.put_on(&Value::Null) {
            eprintln!("{error}");
        }
    }
}
