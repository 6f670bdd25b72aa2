//! A node with the agent, whose pods are attached by the reference plugin `bridge` and `sluice-cni`.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_attachment::store::Store;
use sluice_attachment::{AttachmentId, Record};
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::attach::{Chain, Node, Pod, manifest};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Pods {
    // Ends before the namespace that it keeps alive.
    pub(crate) agent: AgentProcess,
    pub(crate) node: Node,
}

impl Pods {
    /// With these classes of pods, and without the agent yet.
    pub(crate) fn new(classes: &str) -> Self {
        let agent = Path::new(env!("CARGO_BIN_EXE_agent-under-test"));
        let mut agent = AgentProcess::new(agent, "node-a").unwrap();
        agent.add_flags(&["--iptables-variant", "nft"]);
        let plugin = std::env::var_os("SLUICE_CNI")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_cni-under-test").into());
        let node = Node::with_agent(plugin, &agent).unwrap();
        let pods = Self { agent, node };
        pods.set_classes(classes);
        pods
    }

    /// With the agent.
    pub(crate) fn with_agent(classes: &str) -> Self {
        let mut pods = Self::new(classes);
        pods.start_agent();
        pods
    }

    pub(crate) fn set_classes(&self, classes: &str) {
        self.agent.write("node.yaml", &manifest(classes)).unwrap();
    }

    pub(crate) fn start_agent(&mut self) {
        self.agent.start(self.node.namespace()).unwrap();
        let node = self.node.namespace();
        self.agent.wait_until_healthy(node, PATIENCE).unwrap();
    }

    pub(crate) fn chain(&self) -> Chain<'_> {
        // A busy machine's agent may answer later than pods would be kept waiting for it.
        let patient = json!({"agentTimeoutMilliseconds": 10_000});
        let own = self.node.sluice(&patient);
        self.node.chain("1.0.0", vec![self.node.bridge(), own])
    }

    pub(crate) fn add(&self, pod: &Pod) -> Value {
        let added = self.chain().add(pod).unwrap();
        added.unwrap_or_else(|refused| panic!("{refused:?}")).0
    }

    pub(crate) fn del(&self, pod: &Pod, result: &Value) {
        self.chain().del(pod, result).unwrap().unwrap();
    }

    pub(crate) fn record(&self, pod: &Pod) -> Record {
        let store = Store::open(self.node.state()).unwrap();
        let id = AttachmentId::new(&pod.container, "eth0").unwrap();
        let locked = store.lock(PATIENCE).unwrap();
        locked.get(&id).unwrap().unwrap()
    }

    /// How many attachments are remembered, while others come and go.
    pub(crate) fn records(&self) -> usize {
        let files = std::fs::read_dir(self.node.state()).into_iter().flatten();
        let paths = files.flatten().map(|file| file.path());
        paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .count()
    }

    pub(crate) fn hairpins(&self) -> usize {
        let shown = self.node.namespace().command("bridge -d link show");
        shown.unwrap().matches("hairpin on").count()
    }

    /// Nothing is left of any pod.
    pub(crate) fn hold_nothing(&self) {
        assert_eq!(self.node.members().unwrap(), [""; 0]);
        assert_eq!(self.node.remembered().unwrap(), [""; 0]);
        let links = self.node.namespace().command("ip -o link show type veth");
        assert_eq!(links.unwrap(), "");
    }

    /// Waits until something is so.
    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let told = self.node.members().unwrap();
            assert!(
                Instant::now() < deadline,
                "it never was so that {what}: {told:?}\n{}",
                self.agent.log()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

/// Members of a class's sets with the addresses of a result, IPv4 first.
pub(crate) fn in_class(class: &str, result: &Value) -> Vec<String> {
    let addresses = Pod::addresses(result);
    let digits = addresses.iter().zip([4, 6]);
    digits
        .map(|(address, digit)| format!("SLUICE-{digit}-POD-{class} {address}"))
        .collect()
}
