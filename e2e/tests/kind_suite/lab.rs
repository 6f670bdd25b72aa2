//! The cluster, Sluice's images in it, and the pods that scenarios share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::workload::{PORT, Pod, SERVICE_PORT, service};
use sluice_e2e::kind::{Client, Cluster, Node, PodImage};

/// Namespace of the release, and of what scenarios make.
pub(crate) const SLUICE: &str = "sluice-system";
pub(crate) const ECHO: &str = "echo";
/// The label of the pods behind Services; `client` and `host` only ask.
pub(crate) const APP: &str = "echo";
/// The pods with it.
pub(crate) const BOTH: [&str; 2] = ["echo-a", "echo-b"];
pub(crate) const PROBER: &str = "prober";
/// For what happens within seconds where nothing else is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What scenarios work with.
pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
}

/// In the order of pools: `a` has two servers, so that one of a node's pods can fail its neighbour.
const PODS: [Pod<'static>; 5] = [
    Pod {
        name: "echo-a",
        pool: "a",
        app: APP,
        host_network: false,
    },
    Pod {
        name: "echo-b",
        pool: "b",
        app: APP,
        host_network: false,
    },
    Pod {
        name: "client-a",
        pool: "a",
        app: PROBER,
        host_network: false,
    },
    Pod {
        name: "client-b",
        pool: "b",
        app: PROBER,
        host_network: false,
    },
    Pod {
        name: "host-a",
        pool: "a",
        app: PROBER,
        host_network: true,
    },
];

impl Lab {
    /// Makes the cluster, with the images.
    pub(crate) fn up() -> anyhow::Result<Self> {
        let cluster = Cluster::up(&PodImage::of_suite(program())?)?;
        Ok(Self { cluster })
    }

    /// A pod that asks.
    pub(crate) fn client(&self, name: &'static str) -> Client<'_> {
        Client::pod(&self.cluster, ECHO, name)
    }

    /// Somebody outside.
    pub(crate) fn outside(&self) -> Client<'_> {
        Client::outside(&self.cluster, program())
    }

    /// Makes a Service of the shared pods, and tells its addresses as soon as it is served on one node.
    pub(crate) fn serve(&self, name: &str, spec: &Value) -> anyhow::Result<Served<'_>> {
        self.serve_within(PATIENCE, name, spec)
    }

    /// The same for what does not happen within seconds.
    pub(crate) fn serve_within(
        &self,
        patience: Duration,
        name: &str,
        spec: &Value,
    ) -> anyhow::Result<Served<'_>> {
        self.cluster.apply(&[service(ECHO, name, APP, spec)])?;
        let object = self.cluster.get(&["service", name, "--namespace", ECHO])?;
        let served = Served {
            lab: self,
            name: name.to_owned(),
            object,
        };
        let to = served.address(0)?;
        Cluster::eventually(&format!("Service {name} is served"), patience, || {
            let answer = self.client("client-a").reached("tcp", to, 8);
            answer.map_err(|error| error.to_string())
        })?;
        Ok(served)
    }

    /// Makes one and waits until every node serves it by both families, and so every agent knows what is new.
    pub(crate) fn serve_on_every_node(&self, name: &str) -> anyhow::Result<()> {
        // Whose watch has ended tries again after half a minute at times.
        let patience = PATIENCE * 3;
        let served = self.serve_within(patience, name, &json!({"type": "NodePort"}))?;
        let port = served.node_port("TCP")?;
        for node in self.cluster.nodes() {
            for &address in &node.addresses {
                let to = SocketAddr::new(address, port);
                Cluster::eventually(&format!("{} serves {to}", node.name), patience, || {
                    let answer = self.outside().reached("tcp", to, 4);
                    answer.map_err(|error| error.to_string())
                })?;
            }
        }
        Ok(())
    }

    /// The node of a pool.
    pub(crate) fn node(&self, pool: &str) -> anyhow::Result<&Node> {
        let mut nodes = self.cluster.nodes().iter();
        nodes
            .find(|node| node.pool == pool)
            .with_context(|| format!("no node is in the pool {pool}"))
    }

    /// Waits until what the agents tell of every node is so.
    pub(crate) fn await_nodes(
        &self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        Cluster::eventually(what, patience, || {
            let list = self
                .cluster
                .get(&["nodeserviceproxies"])
                .map_err(|error| error.to_string())?;
            let proxies: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
            let told = || {
                Value::from(
                    proxies
                        .iter()
                        .map(|proxy| proxy["status"].clone())
                        .collect::<Vec<_>>(),
                )
            };
            if proxies.len() == self.cluster.nodes().len()
                && proxies.iter().all(|proxy| is_so(proxy))
            {
                Ok(())
            } else {
                Err(told().to_string())
            }
        })?;
        Ok(())
    }
}

/// Waits until these pods, and no others, answer a client.
pub(crate) fn await_pods(
    client: Client<'_>,
    protocol: &str,
    to: SocketAddr,
    pods: &[&str],
) -> anyhow::Result<()> {
    let what = format!("{client} reaches {pods:?} by {protocol} {to}");
    Cluster::eventually(&what, PATIENCE, || {
        // So many that none of two is left out by chance.
        let reached = client.reached(protocol, to, 24);
        let reached = reached.map_err(|error| error.to_string())?;
        (reached == pods)
            .then_some(())
            .ok_or_else(|| format!("{reached:?}"))
    })?;
    Ok(())
}

/// A Service of a scenario; it goes with the value.
pub(crate) struct Served<'a> {
    lab: &'a Lab,
    name: String,
    pub(crate) object: Value,
}

impl Served<'_> {
    /// Gives it the pods with another label `app`.
    pub(crate) fn select(&self, app: &str) -> anyhow::Result<()> {
        let patch = json!({"spec": {"selector": {"app": app}}}).to_string();
        let command = [
            "patch",
            "service",
            &self.name,
            "--namespace",
            ECHO,
            "--type=merge",
            "--patch",
            &patch,
        ];
        self.lab.cluster.kubectl(&command)?;
        Ok(())
    }

    /// Its cluster address of a family, 0 for IPv4 and 1 for IPv6, and its port.
    pub(crate) fn address(&self, family: usize) -> anyhow::Result<SocketAddr> {
        let ip = self.object["spec"]["clusterIPs"][family]
            .as_str()
            .context("no cluster address")?;
        Ok(SocketAddr::new(ip.parse::<IpAddr>()?, SERVICE_PORT))
    }

    /// Its node port for a protocol, as `TCP`.
    pub(crate) fn node_port(&self, protocol: &str) -> anyhow::Result<u16> {
        let ports = self.object["spec"]["ports"].as_array();
        let port = ports
            .into_iter()
            .flatten()
            .find(|port| port["protocol"] == protocol);
        let port = port
            .and_then(|port| port["nodePort"].as_u64())
            .context("no node port")?;
        Ok(u16::try_from(port)?)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let delete = [
            "delete",
            "service",
            &self.name,
            "--namespace",
            ECHO,
            "--ignore-not-found",
        ];
        if let Err(error) = self.lab.cluster.kubectl(&delete) {
            eprintln!("{error}");
        }
    }
}

/// What this machine lacks for a cluster.
pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root, for network namespaces and containers".to_owned());
    }
    let programs = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| {
        std::env::split_paths(&programs).any(|directory| directory.join(name).is_file())
    };
    let missing: Vec<&str> = ["dockerd", "docker", "debootstrap", "go", "cc"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// The pods' program, which people outside run too.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sluice-kind-pod"))
}

/// The work tree.
pub(crate) fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Makes the shared pods anew.
pub(crate) fn start_pods(lab: &Lab) -> anyhow::Result<()> {
    Ok(lab.cluster.start_pods(ECHO, &PODS)?)
}

/// The addresses of one of the shared pods.
pub(crate) fn pod_addresses(lab: &Lab, name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let pod = lab.cluster.get(&["pod", name, "--namespace", ECHO])?;
    let addresses = pod["status"]["podIPs"].as_array().into_iter().flatten();
    let addresses: Vec<IpAddr> = addresses
        .filter_map(|ip| ip["ip"].as_str()?.parse().ok())
        .collect();
    ensure!(addresses.len() == 2, "{name} has {addresses:?}");
    Ok(addresses)
}

pub(crate) fn pods_reach_each_other(lab: &Lab) -> anyhow::Result<()> {
    let namespace = "before";
    let pod = |name, pool| Pod {
        name,
        pool,
        app: APP,
        host_network: false,
    };
    lab.cluster
        .start_pods(namespace, &[pod("one", "a"), pod("other", "b")])?;
    let other = lab
        .cluster
        .get(&["pod", "other", "--namespace", namespace])?;
    for ip in other["status"]["podIPs"].as_array().into_iter().flatten() {
        let ip: IpAddr = ip["ip"].as_str().context("no address")?.parse()?;
        for protocol in ["tcp", "udp"] {
            let to = SocketAddr::new(ip, PORT);
            // An address of IPv6 is tried out for a second or two before it may be used.
            let reached = Cluster::eventually("the other pod is reached", PATIENCE, || {
                let one = Client::pod(&lab.cluster, namespace, "one");
                let reached = one.reached(protocol, to, 1);
                reached.map_err(|error| error.to_string())
            })?;
            ensure!(reached == ["other"], "{to} {protocol}: {reached:?}");
        }
    }
    let object = service(namespace, "nobody", APP, &json!({}));
    lab.cluster.apply(&[object])?;
    let object = lab
        .cluster
        .get(&["service", "nobody", "--namespace", namespace])?;
    let ip: IpAddr = object["spec"]["clusterIP"]
        .as_str()
        .context("no address")?
        .parse()?;
    let nobody = Client::pod(&lab.cluster, namespace, "one")
        .probe_briefly("tcp", SocketAddr::new(ip, SERVICE_PORT))?;
    ensure!(
        nobody.endpoint().is_none(),
        "a Service that nobody implements: {nobody}"
    );
    lab.cluster
        .kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    Ok(())
}
