//! From kube-proxy to Sluice and back on one node, under steady load: nothing fails at any step.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::control_plane::{ControlPlane, Kubectl, Options, Relay};
use sluice_e2e::kube_proxy_process::{KubeProxyMode, KubeProxyProcess};
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::{patience, rate, stretched};
use sluice_e2e::lab::places::{A2, CLIENT, NODE, Place, ROUTER};
use sluice_kernel::iptables::Variant;

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");
const NODE_NAME: &str = "node-a";
/// For what takes seconds where nothing else is done.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS_A_SECOND: u32 = 60;

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

struct Node {
    lab: Lab,
    agent: AgentProcess,
    kubeconfig: PathBuf,
    mode: KubeProxyMode,
    _relay: Relay,
}

impl Node {
    fn start(control_plane: &ControlPlane, mode: KubeProxyMode, vip: &str) -> Self {
        let lab = Lab::up().unwrap();
        let relay = Relay::start(control_plane, lab.node()).unwrap();
        let mut agent = AgentProcess::new(AGENT.as_ref(), NODE_NAME).unwrap();
        let variant = match mode {
            KubeProxyMode::Iptables(Variant::Legacy) => "legacy",
            _ => "nft",
        };
        agent.add_flags(&["--mode", "iptables", "--iptables-variant", variant]);
        let manifest = format!(
            "{NODE_MANIFEST}status: {{addresses: [{{type: InternalIP, address: 192.0.2.10}}]}}\n"
        );
        agent.write("node.yaml", &manifest).unwrap();
        agent
            .write("web.yaml", &SERVICE.replace("VIP", vip))
            .unwrap();
        Self {
            lab,
            agent,
            kubeconfig: control_plane.kubeconfig(),
            mode,
            _relay: relay,
        }
    }

    fn start_kube_proxy(&self) -> KubeProxyProcess {
        let node = self.lab.node();
        let proxy = KubeProxyProcess::start(node, NODE_NAME, &self.kubeconfig, self.mode).unwrap();
        proxy.wait_until_programmed(node, PATIENCE).unwrap();
        proxy
    }

    fn cleanup(&self, more: &[&str]) -> Result<String, String> {
        let state = self.agent.path("state").display().to_string();
        let run = self.agent.path("run").display().to_string();
        let mut arguments = vec!["cleanup", "--state-dir", &state, "--run-dir", &run];
        arguments.extend(more);
        let answer = self.lab.node().program(AGENT, &arguments, "");
        answer.map_err(|error| error.to_string())
    }

    /// Rules and chains of these names, in all that iptables and nftables list.
    fn named(&self, what: &str) -> Vec<String> {
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

/// All that a change could break.
struct Traffic(Vec<(&'static str, Load)>);

impl Traffic {
    fn start(lab: &Lab, vip: SocketAddr) -> Self {
        let route = |from: Place, to| Route {
            from,
            to,
            patience: patience(),
        };
        let node_port = SocketAddr::new(NODE.v4.into(), 30080);
        let new = |from, to| {
            Load::new_connections(lab, route(from, to), rate(CONNECTIONS_A_SECOND)).unwrap()
        };
        Self(vec![
            ("a client outside to the cluster IP", new(CLIENT, vip)),
            ("a client outside to the node port", new(CLIENT, node_port)),
            ("a pod to the cluster IP", new(A2, vip)),
            ("the node to the cluster IP", new(NODE, vip)),
            (
                "kept connections",
                Load::long_lived(lab, route(CLIENT, vip), 8, rate(20)).unwrap(),
            ),
        ])
    }

    fn assert_nothing_failed(self) {
        for (who, load) in self.0 {
            let report = load.stop().unwrap();
            eprintln!(
                "  {who}: {} attempts, {} SYNs sent again, slowest {:?}, {:?}",
                report.attempts.len(),
                report.syn_retransmits,
                report.slowest(),
                report.answers()
            );
            assert_eq!(report.failures(), [], "{who}");
            assert!(report.attempts.len() > 100, "{who}: too little load");
            assert!(
                !report.answers().contains_key(ROUTER.name),
                "{who}: not translated"
            );
        }
    }
}

fn control_plane(test: &str) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(test, &Options::default()).unwrap()
}

fn settle() {
    sleep(stretched(Duration::from_millis(1500)));
}

/// Of whichever network the API server gives cluster IPs from.
fn free_cluster_ip(kubectl: &Kubectl) -> String {
    let own = kubectl
        .run(&[
            "get",
            "service",
            "kubernetes",
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])
        .unwrap();
    format!("{}.80", own.rsplit_once('.').unwrap().0)
}

fn there_and_back(test: &str, mode: KubeProxyMode) {
    let Some(control_plane) = control_plane(test) else {
        return;
    };
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
    let vip = free_cluster_ip(&kubectl);
    kubectl
        .run_with_input(&["apply", "-f", "-"], &SERVICE.replace("VIP", &vip))
        .unwrap();

    let mut node = Node::start(&control_plane, mode, &vip);
    // As a kubelet and the portmap plugin leave them.
    for command in [
        "iptables-nft -t mangle -N KUBE-KUBELET-CANARY",
        "iptables-nft -t nat -N CNI-HOSTPORT-DNAT",
    ] {
        node.lab.node().command(command).unwrap();
    }
    let proxy = node.start_kube_proxy();
    let vip = SocketAddr::new(vip.parse().unwrap(), 80);
    let traffic = Traffic::start(&node.lab, vip);
    settle();

    let refused = node.cleanup(&["--kube-proxy"]).unwrap_err();
    assert!(
        refused.contains(&format!("process {}", proxy.id())),
        "{refused}"
    );

    node.agent.start(node.lab.node()).unwrap();
    node.agent
        .wait_until_healthy(node.lab.node(), PATIENCE)
        .unwrap();
    settle();
    drop(proxy);
    settle();
    // As its IPVS mode leaves them; a set can go only after the rules that use it.
    for command in [
        "ipset create KUBE-LOAD-BALANCER hash:ip,port",
        "ipset create KUBE-OF-OTHERS hash:ip",
        "iptables-nft -t nat -N KUBE-LOAD-BALANCER",
        "iptables-nft -t nat -A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN",
    ] {
        node.lab.node().command(command).unwrap();
    }
    let listed = node.cleanup(&["--kube-proxy", "--dry-run"]).unwrap();
    let own = match mode {
        KubeProxyMode::Iptables(_) => "chain KUBE-SERVICES",
        KubeProxyMode::Nftables => "nftables: table ip kube-proxy",
        KubeProxyMode::Ipvs => "virtual server",
    };
    assert!(listed.contains(own), "{listed}");
    assert_ne!(
        mode.programmed(node.lab.node()).unwrap(),
        "",
        "a dry run removes nothing"
    );
    let said = node.cleanup(&["--kube-proxy"]).unwrap();
    eprintln!("{test}: {said}");
    let left = [node.named("KUBE-"), node.named("table ip kube-proxy")].concat();
    // KUBE-FIREWALL is the kubelet's too, and kube-proxy itself leaves it alone.
    let of_others =
        |line: &String| line.contains("KUBE-KUBELET-CANARY") || line.contains("KUBE-FIREWALL");
    assert!(!left.is_empty() && left.iter().all(of_others), "{left:#?}");
    assert_eq!(node.named("CNI-HOSTPORT-DNAT").len(), 1);
    let sets = node.lab.node().command("ipset list -n").unwrap();
    let sets: Vec<&str> = sets
        .lines()
        .filter(|name| name.starts_with("KUBE-"))
        .collect();
    assert_eq!(sets, ["KUBE-OF-OTHERS"]);
    let again = node.cleanup(&["--kube-proxy"]).unwrap();
    assert!(again.contains("0 chains and 0 jumps"), "{again}");
    settle();
    assert_eq!(node.agent.difference(node.lab.node()).unwrap().trim(), "");

    let proxy = node.start_kube_proxy();
    settle();
    node.agent.kill().unwrap();
    let said = node.cleanup(&[]).unwrap();
    eprintln!("{test}: {said}");
    assert_eq!(node.named("SLUICE-"), [""; 0]);
    settle();
    traffic.assert_nothing_failed();
    drop(proxy);
    // Nothing of Sluice serves now.
    let refused = node.cleanup(&["--kube-proxy"]).unwrap_err();
    assert!(refused.contains("no rules of Sluice"), "{refused}");
}

#[test]
fn from_kube_proxy_by_iptables_legacy_and_back_nothing_fails() {
    there_and_back("iptables-legacy", KubeProxyMode::Iptables(Variant::Legacy));
}

#[test]
fn from_kube_proxy_by_iptables_nft_and_back_nothing_fails() {
    there_and_back("iptables-nft", KubeProxyMode::Iptables(Variant::Nft));
}

#[test]
fn from_kube_proxy_by_nftables_and_back_nothing_fails() {
    there_and_back("nftables", KubeProxyMode::Nftables);
}
