//! A node with an agent whose mode its policy changes.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_crds::v1alpha1::{ActiveMode, VipBinding};
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::places::{A1, A2, B1, Place};
use sluice_e2e::packets::build::NODE_NAME;
use sluice_e2e::packets::ipvs::load_modules;
use sluice_kernel::iptables::Variant;

/// Time that anything may take before a test fails; the machine may be an emulated one.
const PATIENCE: Duration = Duration::from_secs(240);

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");

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

/// What a policy says in this suite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) mode: ActiveMode,
    pub(crate) binding: VipBinding,
    pub(crate) variant: Variant,
    pub(crate) drain_seconds: Option<u32>,
}

impl Wish {
    fn manifest(&self) -> String {
        let binding = match self.binding {
            VipBinding::LocalRoute => "LocalRoute",
            VipBinding::Dummy => "Dummy",
        };
        let variant = match self.variant {
            Variant::Legacy => "Legacy",
            Variant::Nft => "NFT",
        };
        let drain = self
            .drain_seconds
            .map_or_else(String::new, |s| format!("drainTimeoutSeconds: {s}"));
        format!(
            "
apiVersion: sluice.dev/v1alpha1
kind: ServiceProxyPolicy
metadata: {{name: switch}}
spec:
  mode: {mode}
  iptables: {{variant: {variant}}}
  ipvs: {{vipBinding: {binding}}}
  modeSwitch: {{{drain}}}
  sourceNAT:
    detectLocal:
      mode: ClusterCIDR
      clusterCIDR: {{cidrs: ['10.244.0.0/24', 'fd00:10:244::/64']}}
  nodePorts: {{addresses: [primary]}}
  sync: {{minIntervalMilliseconds: 50, fullIntervalSeconds: 3600}}
",
            mode = self.mode
        )
    }
}

/// Number `n` of the cluster: 10.96.0.`n`, TCP and UDP on port 80, in both families.
fn service(name: &str, n: u8, more: &str, node_port: Option<u16>, endpoints: &[Place]) -> String {
    let node_port = node_port.map_or_else(String::new, |port| format!(", nodePort: {port}"));
    let mut text = format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  {more}
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.{n}, 'fd00:10:96::{n:x}']
  ports:
  - {{name: tcp, port: 80, protocol: TCP{node_port}}}
  - {{name: udp, port: 80, protocol: UDP{node_port}}}
"
    );
    for (kind, addresses) in [
        (
            "IPv4",
            endpoints
                .iter()
                .map(|e| e.v4.to_string())
                .collect::<Vec<_>>(),
        ),
        ("IPv6", endpoints.iter().map(|e| e.v6.to_string()).collect()),
    ] {
        let list: Vec<String> = addresses
            .iter()
            .map(|a| format!("{{addresses: ['{a}']}}"))
            .collect();
        let _ = write!(
            text,
            "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{slice}, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: {kind}
ports:
- {{name: tcp, port: 8080, protocol: TCP}}
- {{name: udp, port: 8080, protocol: UDP}}
endpoints: [{list}]
",
            slice = kind.to_lowercase(),
            list = list.join(", ")
        );
    }
    text
}

fn services() -> String {
    service("web", 10, "type: NodePort", Some(30080), &[A1, A2, B1])
        + &service("own", 11, "type: ClusterIP", None, &[A1])
        + &service(
            "sticky",
            12,
            "type: ClusterIP\n  sessionAffinity: ClientIP",
            None,
            &[A1, A2, B1],
        )
}

/// See the module.
pub(crate) struct Node {
    // Before the lab: the agent lives in one of its namespaces.
    pub(crate) agent: AgentProcess,
    pub(crate) lab: Lab,
}

impl Node {
    /// A lab behind a firewall that lets nothing in or through by itself, and an agent that has begun to serve.
    pub(crate) fn up(wish: Wish) -> Self {
        Self::up_in(|lab| firewall(lab, wish.variant), wish)
    }

    /// The same without a firewall: what one made with the one variant drops, rules of the other cannot let in.
    pub(crate) fn up_without_firewall(wish: Wish) -> Self {
        Self::up_in(|_| {}, wish)
    }

    fn up_in(surroundings: impl FnOnce(&Lab), wish: Wish) -> Self {
        // The bridge of a lab needs one. What the agent needs it would load itself.
        load_modules();
        let lab = Lab::up().unwrap();
        surroundings(&lab);
        let mut agent = AgentProcess::new(Path::new(AGENT), NODE_NAME).unwrap();
        agent.set_environment("RUST_LOG", "info");
        agent.write("node.yaml", NODE_MANIFEST).unwrap();
        agent.write("services.yaml", &services()).unwrap();
        agent.write("policy.yaml", &wish.manifest()).unwrap();
        let mut node = Self { agent, lab };
        node.start();
        node.wait_for(wish.mode);
        node
    }

    pub(crate) fn start(&mut self) {
        self.agent.start(self.lab.node()).unwrap();
    }

    /// Writes the policy; the agent follows by itself.
    pub(crate) fn want(&self, wish: Wish) {
        self.agent.write("policy.yaml", &wish.manifest()).unwrap();
    }

    /// Waits until new connections are served in a mode. Tells how long it took.
    pub(crate) fn wait_for(&self, mode: ActiveMode) -> Duration {
        let line = format!("sluice_mode{{mode=\"{mode}\"}} 1");
        self.eventually(&format!("the mode is {mode}"), |node| {
            node.agent.is_healthy(node.lab.node()).unwrap()
                && node.agent.metrics(node.lab.node()).unwrap().contains(&line)
        })
    }

    /// Waits until something is so. Tells how long it took.
    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !is_so(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "it never was so that {what}:\n{}",
                self.agent.log()
            );
            sleep(Duration::from_millis(100));
        }
        start.elapsed()
    }

    /// What the agent complained of, for a person.
    pub(crate) fn tell_complaints(&self) {
        let log = self.agent.log();
        let complaint = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        log.lines()
            .filter(complaint)
            .for_each(|line| eprintln!("  {line}"));
    }

    /// What is left of IPVS on the node: virtual servers, the device, sets.
    pub(crate) fn left_of_ipvs(&self) -> String {
        let node = self.lab.node();
        let servers = node.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs"));
        let servers = servers.unwrap().unwrap_or_default();
        // Three lines of heading.
        let servers: Vec<&str> = servers.lines().skip(3).collect();
        let links = node.command("ip -oneline link show").unwrap();
        let links: Vec<&str> = links.lines().filter(|l| l.contains("kube-ipvs0")).collect();
        let sets = node.command("ipset list -n").unwrap();
        let sets: Vec<&str> = sets.lines().filter(|l| l.contains("-V-")).collect();
        [servers, links, sets].concat().join("\n")
    }
}

/// Answers to what the node itself asked come from port 8080 of a pod: those a firewall lets in, and ICMP, by which neighbours find each
/// other in IPv6, between pods too, as the packets of a bridge pass the rules. All else is for the agent to open.
fn firewall(lab: &Lab, variant: Variant) {
    let (v4, v6) = match variant {
        Variant::Legacy => ("iptables-legacy", "ip6tables-legacy"),
        Variant::Nft => ("iptables-nft", "ip6tables-nft"),
    };
    for (program, icmp) in [(v4, "icmp"), (v6, "ipv6-icmp")] {
        for rule in [
            "-A INPUT -i lo -j ACCEPT".to_owned(),
            format!("-A INPUT -p {icmp} -j ACCEPT"),
            format!("-A FORWARD -p {icmp} -j ACCEPT"),
            "-A INPUT -p tcp --sport 8080 -j ACCEPT".to_owned(),
            "-A INPUT -p udp --sport 8080 -j ACCEPT".to_owned(),
            "-P INPUT DROP".to_owned(),
            "-P FORWARD DROP".to_owned(),
        ] {
            let line = format!("{program} -w {rule}");
            lab.node().command(&line).unwrap();
        }
    }
}
