//! A node whose pods are attached by chains of CNI plugins, called as a runtime calls them.

mod agent;
mod chain;
mod error;
mod manifest;
mod open_vswitch;
mod pod;
mod remembered;

pub use agent::ScriptedAgent;
pub use chain::{Chain, Refused, Verb};
pub use error::AttachError;
pub use manifest::manifest;
pub use open_vswitch::add_switch;
pub use pod::Pod;
pub use remembered::NOT_IN_INDEX;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_attachment::store::Store;
use sluice_kernel::modules::{ModprobeModules, Modules as _};
use tempfile::TempDir;

use crate::agent_process::AgentProcess;
use crate::lab::{LabError, Namespace};

/// Where Debian puts the reference plugins.
pub const REFERENCE_PLUGINS: &str = "/usr/lib/cni";
/// How long the plugin and the agent may keep the store of attachments.
const PATIENCE: Duration = Duration::from_secs(20);
/// The sets of the classes Preserve and Masquerade, IPv4 first.
pub const CLASS_SETS: [&str; 4] = [
    "SLUICE-4-POD-PRESERVE",
    "SLUICE-6-POD-PRESERVE",
    "SLUICE-4-POD-MASQ",
    "SLUICE-6-POD-MASQ",
];

/// A network namespace for the node and a directory for its files.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    directory: TempDir,
    plugin: PathBuf,
    socket: PathBuf,
    state: PathBuf,
}

impl Node {
    /// A node without pods that forwards and lets bridged packets meet its rules. `plugin` is the `sluice-cni` to be called.
    pub fn new(plugin: impl Into<PathBuf>) -> Result<Self, AttachError> {
        let directory = tempfile::tempdir().map_err(AttachError::Directory)?;
        Ok(Self {
            namespace: network()?,
            socket: directory.path().join("agent.sock"),
            state: directory.path().join("attachments"),
            directory,
            plugin: plugin.into(),
        })
    }

    /// A node whose plugin asks this agent, and shares its records with it.
    pub fn with_agent(
        plugin: impl Into<PathBuf>,
        agent: &AgentProcess,
    ) -> Result<Self, AttachError> {
        let mut node = Self::new(plugin)?;
        node.socket = agent.path("run/agent.sock");
        node.state = agent.path("state/attachments");
        Ok(node)
    }

    /// What a reboot leaves: the files. All that the kernel held is gone.
    pub fn reboot(&mut self) -> Result<(), AttachError> {
        self.namespace = network()?;
        Ok(())
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The plugin under test.
    pub fn plugin(&self) -> &Path {
        &self.plugin
    }

    /// Where the agent's socket is expected.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Where attachments are remembered.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// The plugin's entry in a chain, with these fields besides.
    pub fn sluice(&self, more: &Value) -> Value {
        let mut entry = json!({
            "type": "sluice-cni", "socket": self.socket(), "stateDirectory": self.state(),
        });
        if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
            entry.extend(more.clone());
        }
        entry
    }

    /// The reference plugin `host-local` with both families.
    pub fn addresses(&self) -> Value {
        json!({
            "type": "host-local", "dataDir": self.directory().join("ipam"),
            "ranges": [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd00:99::/112"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        })
    }

    /// The reference plugin `bridge`, which leaves hairpin to others.
    pub fn bridge(&self) -> Value {
        json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": false, "ipMasq": false,
            "ipam": self.addresses(),
        })
    }

    /// A chain of plugins, in a version of the specification.
    pub fn chain(&self, version: &str, plugins: Vec<Value>) -> Chain<'_> {
        Chain::new(self, version, plugins)
    }

    /// Makes the sets of the classes, as the agent's first sync does.
    pub fn make_class_sets(&self) -> Result<(), LabError> {
        for (number, name) in CLASS_SETS.iter().enumerate() {
            let family = if number % 2 == 0 { "inet" } else { "inet6" };
            let line = format!("ipset create {name} hash:ip family {family}");
            self.namespace.command(&line)?;
        }
        Ok(())
    }

    /// What the sets of the classes hold, as `SET ADDRESS`, sorted.
    pub fn members(&self) -> Result<Vec<String>, LabError> {
        let saved = self.namespace.command("ipset save")?;
        let mut members: Vec<_> = saved
            .lines()
            .filter_map(|line| line.strip_prefix("add "))
            .filter(|member| member.contains("-POD-"))
            .map(str::to_owned)
            .collect();
        members.sort();
        Ok(members)
    }

    /// Names of the files that remember attachments, of what should not be there, and of what the index of addresses says wrongly or not at
    /// all ([`NOT_IN_INDEX`]); while nobody writes one.
    pub fn remembered(&self) -> Result<Vec<String>, AttachError> {
        if !self.state().exists() {
            return Ok(Vec::new());
        }
        let store = Store::open(self.state())?;
        let _nobody_writes = store.lock(PATIENCE)?;
        remembered::names(&self.state()).map_err(AttachError::Directory)
    }
}

/// A node's network without links.
fn network() -> Result<Namespace, LabError> {
    // Where it cannot be loaded it is there, or the settings below say that it is not.
    let _ = ModprobeModules::new().load("br_netfilter", &[]);
    let namespace = Namespace::new("node")?;
    for (path, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/bridge/bridge-nf-call-iptables", "1"),
        ("net/bridge/bridge-nf-call-ip6tables", "1"),
    ] {
        namespace.sysctl(path, value)?;
    }
    Ok(namespace)
}
