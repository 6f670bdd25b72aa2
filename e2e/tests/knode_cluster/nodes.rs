//! A node of the cluster: a lab of its own, an agent, and the agent's way to the API server.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::changes::nothing_lost;
use sluice_e2e::control_plane::Relay;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::{patience, rate};
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, NODE};
use sluice_e2e::lab::{Lab, Probe};
use sluice_service_plan::model::{Family, Protocol};

use crate::cluster::Cluster;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");
/// Connections a second of a load.
const RATE: u32 = 50;

/// See the module.
pub(crate) struct Node {
    // Before the lab: both live in one of its namespaces.
    pub(crate) agent: AgentProcess,
    pub(crate) relay: Relay,
    pub(crate) lab: Lab,
    pub(crate) name: String,
}

impl Node {
    /// A node with these labels whose agent has begun to serve.
    pub(crate) fn up(cluster: &Cluster, name: &str, labels: &[(&str, &str)]) -> Self {
        let node = Self::join(cluster, name, labels);
        node.wait_until_served(cluster, 1);
        node
    }

    /// The same, without waiting.
    pub(crate) fn join(cluster: &Cluster, name: &str, labels: &[(&str, &str)]) -> Self {
        let installation = &cluster.installation;
        installation.add_node(name, labels).unwrap();
        describe(cluster, name);
        let lab = Lab::up().unwrap();
        let relay = Relay::start(&installation.control_plane, lab.node()).unwrap();
        let kubeconfig = installation.agent_kubeconfig(name).unwrap();
        let mut agent = AgentProcess::with_kubeconfig(Path::new(AGENT), name, &kubeconfig).unwrap();
        agent.start(lab.node()).unwrap();
        Self {
            agent,
            relay,
            lab,
            name: name.to_owned(),
        }
    }

    /// As `kubectl` names its object.
    pub(crate) fn object(&self) -> String {
        format!("nsp/{}", self.name)
    }

    /// Starts a killed agent again.
    pub(crate) fn start_agent(&mut self) {
        self.agent.start(self.lab.node()).unwrap();
    }

    /// Waits until it is healthy, by its own word.
    pub(crate) fn wait_until_healthy(&self, cluster: &Cluster) {
        cluster.eventually(&format!("{} is healthy", self.name), || {
            self.agent.is_healthy(self.lab.node()).unwrap()
        });
    }

    /// Waits until service number `n` is answered by a pod.
    pub(crate) fn wait_until_served(&self, cluster: &Cluster, n: u8) {
        cluster.eventually(
            &format!("{} serves s{n}:\n{}", self.name, self.agent.log()),
            || self.serves(n),
        );
    }

    pub(crate) fn serves(&self, n: u8) -> bool {
        let answer = self.answers(n);
        [A1, A2, A3, B1]
            .iter()
            .any(|pod| answer.as_deref() == Some(pod.name))
    }

    /// Who answers at service number `n`; what the node does not translate, the router answers.
    pub(crate) fn answers(&self, n: u8) -> Option<String> {
        let probe = Probe::new(Protocol::Tcp, None, cluster_ip(n));
        let outcome = self.lab.probe(&CLIENT, &probe).unwrap();
        outcome.endpoint().map(ToOwned::to_owned)
    }

    /// Steady load on service 1, by cluster IP and node port.
    pub(crate) fn load(&self) -> Vec<Load> {
        let node_port = SocketAddr::new(NODE.ip(Family::V4), 30_001);
        [cluster_ip(1), node_port]
            .map(|to| {
                let route = Route {
                    from: CLIENT,
                    to,
                    patience: patience(),
                };
                Load::new_connections(&self.lab, route, rate(RATE)).unwrap()
            })
            .into()
    }

    /// What the node runs, by its own word.
    pub(crate) fn active_mode(&self, cluster: &Cluster) -> String {
        cluster.field(&self.object(), ".status.activeMode")
    }

    /// Whether this variant of iptables has taken all over: after a change, both hold our rules for a moment.
    pub(crate) fn has_only(&self, variant: &str) -> bool {
        let other = if variant == "nft" { "legacy" } else { "nft" };
        self.chains(variant) > 0 && self.chains(other) == 0
    }

    /// How many chains of ours a variant of iptables holds.
    fn chains(&self, variant: &str) -> usize {
        let save = format!("iptables-{variant}-save");
        let text = self.lab.node().program(&save, &["-t", "nat"], "").unwrap();
        text.lines()
            .filter(|line| line.starts_with(":SLUICE-"))
            .count()
    }
}

/// What the kubelet would say of it.
pub(crate) fn describe(cluster: &Cluster, name: &str) {
    let patch = json!({"spec": {"podCIDRs": ["10.244.0.0/24"], "podCIDR": "10.244.0.0/24"}});
    let spec = ["patch", "node", name, "--type=merge", "-p"];
    let kubectl = cluster.kubectl();
    kubectl
        .run(&[&spec[..], &[&patch.to_string()]].concat())
        .unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": NODE.v4}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
    }});
    let status = status.to_string();
    let arguments = [&spec[..], &[&status, "--subresource=status"]].concat();
    kubectl.run(&arguments).unwrap();
}

pub(crate) fn cluster_ip(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 1, n], 80))
}

/// No connection failed, and none went past the node.
pub(crate) fn assert_nothing_lost(loads: Vec<Load>) {
    for load in loads {
        // Half a second's.
        let all = nothing_lost(load, rate(RATE / 2)).unwrap();
        eprintln!("{all} connections");
    }
}
