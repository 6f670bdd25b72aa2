//! A node with an agent that serves numbered services, and traffic to them.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::changes::nothing_lost;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::{pace, patience, rate, stretched};
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, NODE, Place};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::build::NODE_NAME;
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_kernel::iptables::Variant;
use sluice_service_plan::model::{Family, Protocol, VipBinding};

/// Time that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two of the agent's looks at what nothing tells it of.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// Connections a second of a load.
const RATE: u32 = 100;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");

const NODE_MANIFEST: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.0.0/24, 'fd00:10:244::/64']}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.10}
  - {type: InternalIP, address: '2001:db8::10'}
";

/// Service number `n`: TCP on 10.96.0.`n`:80 and on node port 30000 + `n`.
pub(crate) fn manifest(n: u8, endpoints: &[Place]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|pod| format!("{{addresses: [{}]}}", pod.v4))
        .collect();
    let endpoints = endpoints.join(", ");
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: shop}}
spec:
  type: NodePort
  clusterIPs: [10.96.0.{n}]
  ports: [{{name: http, port: 80, nodePort: {}, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{n}-1, namespace: shop, labels: {{kubernetes.io/service-name: s{n}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{endpoints}]",
        30_000 + u32::from(n)
    )
}

pub(crate) fn cluster(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 0, n], 80))
}

pub(crate) fn node_port(n: u8) -> SocketAddr {
    SocketAddr::new(NODE.ip(Family::V4), 30_000 + u16::from(n))
}

/// The data plane that is tested here beside rules of this variant, if this machine can run it.
pub(crate) fn plane(variant: Variant) -> Option<&'static PlaneUnderTest> {
    let programs = planes::iptables(variant).programs;
    planes::here().find(|plane| plane.programs == programs)
}

/// An agent that is to serve `s1` by that plane; nothing where this machine cannot run it, which is reported.
pub(crate) fn agent(variant: Variant) -> Option<AgentProcess> {
    let mode = match plane(variant)?.ipvs {
        None => vec!["--mode", "iptables"],
        Some(VipBinding::LocalRoute) => vec!["--mode", "ipvs", "--ipvs-vip-binding", "local-route"],
        Some(VipBinding::Dummy) => vec!["--mode", "ipvs", "--ipvs-vip-binding", "dummy"],
    };
    Some(agent_in_mode(&mode, variant))
}

/// The same, where rules balance, on every machine.
pub(crate) fn agent_by_rules(variant: Variant) -> Option<AgentProcess> {
    if !planes::iptables(variant).runs_here() {
        return None;
    }
    Some(agent_in_mode(&["--mode", "iptables"], variant))
}

fn agent_in_mode(mode: &[&str], variant: Variant) -> AgentProcess {
    let variant = match variant {
        Variant::Legacy => "legacy",
        Variant::Nft => "nft",
    };
    let mut agent = AgentProcess::new(Path::new(AGENT), NODE_NAME).unwrap();
    agent.add_flags(mode);
    agent.add_flags(&["--iptables-variant", variant]);
    agent.write("node.yaml", NODE_MANIFEST).unwrap();
    agent.write("s1.yaml", &manifest(1, &[A1, A2])).unwrap();
    agent
}

/// Starts it and waits until it is healthy.
pub(crate) fn start(agent: &mut AgentProcess, lab: &Lab) {
    agent.start(lab.node()).unwrap();
    let is_up = |agent: &AgentProcess| agent.is_healthy(lab.node()).unwrap();
    eventually("the agent is healthy", agent, is_up);
}

/// Waits until something is so; tells how long it took.
pub(crate) fn eventually(
    what: &str,
    agent: &AgentProcess,
    is_so: impl Fn(&AgentProcess) -> bool,
) -> Duration {
    let start = Instant::now();
    while !is_so(agent) {
        let waited = start.elapsed();
        assert!(
            waited < stretched(PATIENCE),
            "it never was so that {what}:\n{}",
            agent.log()
        );
        sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// It took no longer than this. An emulated machine is busy for long with a repair itself: there it is enough that it comes.
pub(crate) fn assert_within(limit: Duration, took: Duration, what: &str) {
    eprintln!("{what}: {took:?}");
    assert!(took < limit || pace() > 1, "{what}: it took {took:?}");
}

/// What is found at a look only was found and repaired in time: where something tells of changes of rules, everything is compared once an hour.
pub(crate) fn assert_found_at_a_look(took: Duration, what: &str) {
    assert_within(6 * LOOK, took, what);
}

pub(crate) fn load(lab: &Lab, to: SocketAddr) -> Load {
    Load::new_connections(
        lab,
        Route {
            from: CLIENT,
            to,
            patience: patience(),
        },
        rate(RATE),
    )
    .unwrap()
}

pub(crate) fn assert_nothing_lost(loads: Vec<Load>) {
    for load in loads {
        // Half a second's.
        nothing_lost(load, rate(RATE / 2)).unwrap();
    }
}

/// Whoever answers; what the node does not translate, the router answers.
pub(crate) fn reach(lab: &Lab, to: SocketAddr) -> Outcome {
    lab.probe(&CLIENT, &Probe::new(Protocol::Tcp, None, to))
        .unwrap()
}
/// A pod answers.
pub(crate) fn is_served(lab: &Lab, to: SocketAddr) -> bool {
    let outcome = reach(lab, to);
    [A1, A2, A3, B1]
        .iter()
        .any(|pod| outcome.endpoint() == Some(pod.name))
}
