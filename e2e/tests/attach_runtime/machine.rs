//! A node with a runtime and an agent.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::attach::{Node, manifest};
use sluice_e2e::container_runtime::{Programs, Release, Runtime, RuntimeError};
use sluice_e2e::lab::Namespace;
use sluice_e2e::skip::skip;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Machine {
    // Ends before the namespace that its processes keep alive.
    runtime: Option<Runtime>,
    pub(crate) agent: AgentProcess,
    pub(crate) node: Node,
    programs: Programs,
}

impl Machine {
    /// With the runtime only. Nothing where it cannot be had, which is reported.
    pub(crate) fn with_runtime(release: Release) -> Option<Self> {
        let programs = match Programs::get(release) {
            Err(error @ (RuntimeError::Go(_) | RuntimeError::Package(_))) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                skip(
                    "attach_runtime",
                    &format!("{error}: {}", cause.unwrap_or_default()),
                );
                return None;
            }
            programs => programs.unwrap(),
        };
        let agent = Path::new(env!("CARGO_BIN_EXE_agent-under-test"));
        let mut agent = AgentProcess::new(agent, "node-a").unwrap();
        agent.add_flags(&["--iptables-variant", "nft"]);
        let every_pod = manifest("[{name: all, action: Masquerade}]");
        agent.write("node.yaml", &every_pod).unwrap();
        let plugin = std::env::var_os("SLUICE_CNI")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_cni-under-test").into());
        let node = Node::with_agent(plugin, &agent).unwrap();
        let mut machine = Self {
            runtime: None,
            agent,
            node,
            programs,
        };
        machine.start_runtime();
        Some(machine)
    }

    /// With both.
    pub(crate) fn up(release: Release) -> Option<Self> {
        let mut machine = Self::with_runtime(release)?;
        machine.start_agent();
        Some(machine)
    }

    fn start_runtime(&mut self) {
        let files = self.files();
        std::fs::create_dir_all(&files).unwrap();
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        // A busy machine's agent may answer later than pods would be kept waiting for it.
        let own = json!({"agentTimeoutMilliseconds": 10_000});
        let plugins = [self.node.bridge(), portmap, self.node.sluice(&own)];
        let (node, plugin) = (self.node.namespace(), self.node.plugin());
        let runtime = Runtime::start(&self.programs, &files, node, plugin, &plugins);
        self.runtime = Some(runtime.unwrap());
    }

    pub(crate) fn start_agent(&mut self) {
        self.agent.start(self.node.namespace()).unwrap();
        let node = self.node.namespace();
        self.agent.wait_until_healthy(node, PATIENCE).unwrap();
    }

    /// What the runtime has in `/var/lib`, and its configuration.
    pub(crate) fn files(&self) -> PathBuf {
        self.node.directory().join("runtime")
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        self.node.namespace()
    }

    /// Power is lost, and comes back: files are all that is left, but those in `/run`. `meanwhile` is what happens to the files. The agent is
    /// not started.
    pub(crate) fn reboot(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.runtime = None;
        self.agent.kill().unwrap();
        std::fs::remove_dir_all(self.agent.path("run")).unwrap();
        self.node.reboot().unwrap();
        meanwhile(self);
        self.start_runtime();
    }

    /// What so many pods hold, and nothing else: a record, an address of each family in the class's sets, a link, and addresses that the
    /// main plugin gave out.
    pub(crate) fn holds(&self, pods: usize) {
        let links = self.namespace().command("ip -o link show type veth");
        let [records, members] = self.ours();
        let held = [
            records,
            members,
            links.unwrap().lines().count(),
            self.given_out() / 2,
        ];
        assert_eq!(held, [pods; 4], "{}", self.runtime().log());
    }

    /// How many pods have a record, and how many an address of each family in a set.
    pub(crate) fn ours(&self) -> [usize; 2] {
        let members = self.node.members().unwrap().len();
        assert_eq!(members % 2, 0);
        [self.node.remembered().unwrap().len(), members / 2]
    }

    /// The same, in a while: the agent's upkeep has a part in it.
    pub(crate) fn comes_to_hold(&self, pods: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.node.members().unwrap().len() != 2 * pods && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
        self.holds(pods);
    }

    fn given_out(&self) -> usize {
        let network = self.node.directory().join("ipam/pods");
        let files = std::fs::read_dir(network).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with("10.") || name.starts_with("fd"))
            .count()
    }
}
