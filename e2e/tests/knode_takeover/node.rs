//! A node of a lab beside an API server that knows it and its one service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::control_plane::{ControlPlane, Options, Relay};
use sluice_e2e::kube_proxy_process::{KubeProxyMode, KubeProxyProcess};
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::pace::stretched;

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");
const NODE_NAME: &str = "node-a";
/// For what takes seconds where nothing else is done.
const PATIENCE: Duration = Duration::from_secs(60);

const NODE_MANIFEST: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.0.0/24], podCIDR: 10.244.0.0/24}
";
const NODE_STATUS: &str =
    r#"{"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}}"#;

/// TCP on a cluster IP and on a node port, with a pod on this node and one on another.
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  clusterIP: VIP
  clusterIPs: [VIP]
  ports: [{name: http, port: 80, nodePort: 30080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.244.0.11], nodeName: node-a, conditions: {ready: true}}
- {addresses: [10.244.1.11], nodeName: node-b, conditions: {ready: true}}
";

/// See the module.
pub(crate) struct Node {
    pub(crate) lab: Lab,
    pub(crate) agent: AgentProcess,
    kubeconfig: PathBuf,
    mode: KubeProxyMode,
    _relay: Relay,
}

impl Node {
    /// Its agent is to be started with these flags, its kube-proxy in this mode.
    pub(crate) fn new(
        control_plane: &ControlPlane,
        mode: KubeProxyMode,
        vip: SocketAddr,
        flags: &[&str],
    ) -> Self {
        let lab = Lab::up().unwrap();
        let relay = Relay::start(control_plane, lab.node()).unwrap();
        let mut agent = AgentProcess::new(AGENT.as_ref(), NODE_NAME).unwrap();
        agent.add_flags(flags);
        let manifest = format!(
            "{NODE_MANIFEST}status: {{addresses: [{{type: InternalIP, address: 192.0.2.10}}]}}\n"
        );
        agent.write("node.yaml", &manifest).unwrap();
        agent
            .write("web.yaml", &SERVICE.replace("VIP", &vip.ip().to_string()))
            .unwrap();
        Self {
            lab,
            agent,
            kubeconfig: control_plane.kubeconfig(),
            mode,
            _relay: relay,
        }
    }

    pub(crate) fn start_kube_proxy(&self) -> KubeProxyProcess {
        let node = self.lab.node();
        let proxy = KubeProxyProcess::start(node, NODE_NAME, &self.kubeconfig, self.mode).unwrap();
        let patience = stretched(PATIENCE);
        proxy.wait_until_programmed(node, patience).unwrap();
        proxy
    }

    pub(crate) fn start_agent(&mut self) {
        let node = self.lab.node();
        self.agent.start(node).unwrap();
        let patience = stretched(PATIENCE);
        self.agent.wait_until_healthy(node, patience).unwrap();
    }

    pub(crate) fn cleanup(&self, more: &[&str]) -> Result<String, String> {
        let state = self.agent.path("state").display().to_string();
        let run = self.agent.path("run").display().to_string();
        let mut arguments = vec!["cleanup", "--state-dir", &state, "--run-dir", &run];
        arguments.extend(more);
        let answer = self.lab.node().program(AGENT, &arguments, "");
        answer.map_err(|error| error.to_string())
    }

    /// Rules and chains of these names, in all that iptables and nftables list.
    pub(crate) fn named(&self, what: &str) -> Vec<String> {
        let node = self.lab.node();
        let mut listed = String::new();
        for program in ["iptables-legacy-save", "iptables-nft-save"] {
            for family in ["iptables", "ip6tables"] {
                let program = program.replacen("iptables", family, 1);
                listed.push_str(&node.program(&program, &[], "").unwrap());
            }
        }
        listed.push_str(&node.command("nft list tables").unwrap());
        let lines = listed.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect()
    }
}

/// A control plane with the node and the service, whose address is among what this cluster gives; absent where there is none.
pub(crate) fn cluster(test: &str) -> Option<(ControlPlane, SocketAddr)> {
    let control_plane = ControlPlane::start_or_skip(test, &Options::default()).unwrap()?;
    let kubectl = control_plane.kubectl().unwrap();
    kubectl
        .run_with_input(&["apply", "-f", "-"], NODE_MANIFEST)
        .unwrap();
    let patch = [
        "patch",
        "node",
        NODE_NAME,
        "--subresource=status",
        "--type=merge",
        "-p",
        NODE_STATUS,
    ];
    kubectl.run(&patch).unwrap();
    // Whichever network the API server gives cluster IPs from.
    let own = kubectl
        .run(&[
            "get",
            "service",
            "kubernetes",
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])
        .unwrap();
    let vip = format!("{}.80", own.rsplit_once('.').unwrap().0);
    kubectl
        .run_with_input(&["apply", "-f", "-"], &SERVICE.replace("VIP", &vip))
        .unwrap();
    let vip = SocketAddr::new(vip.parse().unwrap(), 80);
    Some((control_plane, vip))
}

pub(crate) fn settle() {
    sleep(stretched(Duration::from_millis(1500)));
}
