//! The cluster, from nothing to nodes that are ready.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::error::KindError;
use super::pod_images::PodImage;
use super::programs::Program;
use super::{node_image, pod_network, settings};
use crate::control_plane::Programs;
use crate::helm::PROGRAM_VARIABLE;
use crate::lab::Namespace;
use crate::lab::pace::stretched;

const NAME: &str = "lab";
/// What an API server says that is busy or has just begun.
const PASSES: [&str; 4] = [
    "etcdserver: request timed out",
    "etcdserver: leader changed",
    "TLS handshake timeout",
    "connection refused",
];
/// How long it is asked again; it takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running cluster; it ends with the value.
#[derive(Debug)]
pub struct Cluster {
    daemon: Daemon,
    nodes: Vec<Node>,
}

/// A node, which is a container of the same name.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its pool: the value of its label `pool`.
    pub pool: String,
    /// Its addresses, one a family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The ranges that its pods have addresses of, one a family, IPv4 first.
    pub pod_ranges: Vec<ipnet::IpNet>,
}

/// As `kubectl` is told how long to wait; longer on a slower machine.
pub fn time_limit(seconds: u64) -> String {
    let limit = stretched(Duration::from_secs(seconds));
    format!("--timeout={}s", limit.as_secs())
}

/// Tells how long a step took.
fn timed<T>(what: &str, step: impl FnOnce() -> Result<T, KindError>) -> Result<T, KindError> {
    let started = Instant::now();
    let result = step();
    eprintln!("{:6.1} s  {what}", started.elapsed().as_secs_f64());
    result
}

impl Cluster {
    /// Makes it, with these images on every node: minutes when programs and node image have to be built, else less than one.
    pub fn up(images: &[PodImage]) -> Result<Self, KindError> {
        let programs = timed("the programs of Kubernetes", || Ok(Programs::built()?))?;
        let (kind, helm) = timed("kind and Helm", || {
            // One that the user has, or `make` has built.
            let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
            let helm = named.filter(|program| program.is_file());
            let helm = helm.map_or_else(|| Program::Helm.get(), Ok)?;
            Ok((Program::Kind.get()?, helm))
        })?;
        let directories: Vec<_> = [kind.parent(), helm.parent(), Some(programs.directory())]
            .into_iter()
            .flatten()
            .collect();
        let daemon = timed("dockerd", || Daemon::start(&directories))?;
        let image = timed("the node image", || node_image::get(&daemon, images))?;
        let mut cluster = Self {
            daemon,
            nodes: Vec::new(),
        };
        timed("kind create cluster", || cluster.create(&image))?;
        timed("the pod network", || cluster.connect())?;
        timed("all nodes ready", || {
            cluster.kubectl(&[
                "wait",
                "--for=condition=Ready",
                "nodes",
                "--all",
                &time_limit(120),
            ])
        })?;
        Ok(cluster)
    }

    /// The daemon that runs it, and the network outside.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Where clients outside the cluster are.
    pub fn outside(&self) -> &Namespace {
        self.daemon.outside()
    }

    /// The nodes, the control plane first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Runs `kubectl` with the administrator's rights, again where the API server says that it passes.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, KindError> {
        self.kubectl_with_input(arguments, &[])
    }

    fn kubectl_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<String, KindError> {
        let until = Instant::now() + stretched(PATIENCE);
        loop {
            let result = self.daemon.run_with_input("kubectl", arguments, input);
            let passes = |error: &KindError| {
                let said = error.to_string();
                PASSES.iter().any(|passing| said.contains(passing))
            };
            if Instant::now() > until || !result.as_ref().is_err_and(passes) {
                return result;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Applies objects.
    pub fn apply(&self, objects: &[Value]) -> Result<(), KindError> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let apply = ["apply", "--server-side", "-f", "-"];
        self.kubectl_with_input(&apply, list.as_bytes()).map(drop)
    }

    /// What `kubectl get … -o json` tells.
    pub fn get(&self, arguments: &[&str]) -> Result<Value, KindError> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).map_err(|error| KindError::Unintelligible {
            what: format!("kubectl get {}", arguments.join(" ")),
            message: error.to_string(),
        })
    }

    /// Runs Helm with the administrator's rights.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, KindError> {
        self.daemon.run("helm", arguments)
    }

    /// Runs a program on a node.
    pub fn on_node(&self, node: &str, arguments: &[&str]) -> Result<String, KindError> {
        self.daemon
            .run("docker", &[&["exec", node], arguments].concat())
    }

    /// Brings images of the daemon to every node.
    pub fn load(&self, images: &[&str]) -> Result<(), KindError> {
        let arguments = [&["load", "docker-image", "--name", NAME], images].concat();
        self.daemon.run("kind", &arguments).map(drop)
    }

    /// Asks again until the answer is `Ok`, on a slower machine for longer; its error says what was seen.
    pub fn eventually<T>(
        what: &str,
        patience: Duration,
        mut ask: impl FnMut() -> Result<T, String>,
    ) -> Result<T, KindError> {
        let (started, patience) = (Instant::now(), stretched(patience));
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(seen) if started.elapsed() > patience => {
                    return Err(KindError::Never {
                        what: what.to_owned(),
                        patience,
                        seen,
                    });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    /// Restarts a node, as a power failure does, and makes its part of the pod network again.
    pub fn restart(&self, node: &Node) -> Result<(), KindError> {
        self.power_cycle(node).map(drop)
    }

    /// Restarts a node that was deleted from the API: it registers anew, with other ranges of pod addresses.
    pub fn rejoin(&self, node: &Node) -> Result<(), KindError> {
        let nodes = self.power_cycle(node)?;
        match nodes.iter().find(|known| known.name == node.name) {
            Some(node) => pod_network::configure(self, node),
            None => Ok(()),
        }
    }

    /// Tells the nodes as they are afterwards. A network that owns the nodes would make its routes again too.
    fn power_cycle(&self, node: &Node) -> Result<Vec<Node>, KindError> {
        self.daemon
            .run("docker", &["restart", "--time", "0", &node.name])?;
        // Until then kind's entrypoint writes rules of the node back as it has read them, without what others have made meanwhile.
        Self::eventually("the node's systemd runs", Duration::from_secs(60), || {
            let first = self
                .on_node(&node.name, &["cat", "/proc/1/comm"])
                .map_err(|error| error.to_string())?;
            (first.trim() == "systemd").then_some(()).ok_or(first)
        })?;
        let nodes = self.registered()?;
        Self::eventually("the node's network is up", Duration::from_secs(60), || {
            pod_network::route(self, &nodes).map_err(|error| error.to_string())
        })?;
        Ok(nodes)
    }

    fn create(&self, image: &str) -> Result<(), KindError> {
        let patches = self.daemon.directory().join("patches");
        let config = settings::config(&patches)?.to_string();
        let arguments = [
            "create", "cluster", "--name", NAME, "--image", image, "--config", "-",
        ];
        self.daemon
            .run_with_input("kind", &arguments, config.as_bytes())
            .map(drop)
    }

    fn delete(&self) -> Result<(), KindError> {
        self.daemon
            .run("kind", &["delete", "cluster", "--name", NAME])
            .map(drop)
    }

    fn connect(&mut self) -> Result<(), KindError> {
        self.nodes = self.registered()?;
        pod_network::route(self, &self.nodes)?;
        for node in &self.nodes {
            pod_network::configure(self, node)?;
        }
        Ok(())
    }

    /// The nodes as the API has them, when it has all of them.
    fn registered(&self) -> Result<Vec<Node>, KindError> {
        let patience = Duration::from_secs(60);
        let ask = || {
            let list = self.get(&["nodes"]).map_err(|error| error.to_string())?;
            let nodes: Option<Vec<Node>> = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(node)
                .collect();
            nodes
                .filter(|nodes| nodes.len() == settings::POOLS.len())
                .ok_or_else(|| list["items"].to_string())
        };
        let mut nodes = Self::eventually("every node has a range of pod addresses", patience, ask)?;
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(nodes)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The daemon's end is the containers' end too; this frees their volumes.
        if let Err(error) = self.delete() {
            eprintln!("kind delete cluster: {error}");
        }
    }
}

/// `None` while something is missing.
fn node(object: &Value) -> Option<Node> {
    let texts = |values: &Value, key: &str| -> Vec<String> {
        let values = values.as_array().into_iter().flatten();
        let text = |value: &Value| {
            let value = if key.is_empty() { value } else { &value[key] };
            value.as_str().map(ToOwned::to_owned)
        };
        values.filter_map(text).collect()
    };
    let addresses = texts(&object["status"]["addresses"], "address");
    let mut addresses: Vec<IpAddr> = addresses
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let ranges = texts(&object["spec"]["podCIDRs"], "");
    let mut pod_ranges: Vec<ipnet::IpNet> =
        ranges.iter().filter_map(|text| text.parse().ok()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    pod_ranges.sort_by_key(|range| range.addr().is_ipv6());
    (addresses.len() == 2 && pod_ranges.len() == 2).then_some(())?;
    Some(Node {
        name: object["metadata"]["name"].as_str()?.to_owned(),
        pool: object["metadata"]["labels"]["pool"].as_str()?.to_owned(),
        addresses,
        pod_ranges,
    })
}
