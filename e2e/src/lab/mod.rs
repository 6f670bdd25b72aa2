//! The netns lab: a node with pods, another node with pods, clients outside, all on the kernel of this machine and all
//! closed: no way leads out of a lab, and nothing of the machine's own network is touched.
//!
//! ```no_run
//! use sluice_e2e::lab::{Lab, Outcome, Probe, places::{A1, CLIENT}};
//! use sluice_service_plan::model::{Family, Protocol};
//!
//! let lab = Lab::up()?;
//! lab.node().command("iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to 10.244.0.11:8080")?;
//! let outcome = lab.probe(&CLIENT, &Probe::new(Protocol::Tcp, None, "10.96.0.10:80".parse().unwrap()))?;
//! assert_eq!(outcome.endpoint(), Some(A1.name));
//! # Ok::<(), sluice_e2e::lab::LabError>(())
//! ```
//!
//! Who is where says [`places`]. Every pod, and each node's host network, runs a [`Server`] on [`places::SERVED_PORTS`] for
//! TCP, UDP and SCTP. Code that must see the node as the agent does (data planes) runs through `lab.node().run(…)`.

use std::net::IpAddr;
use std::thread::JoinHandle;

use sluice_service_plan::model::{Family, Protocol};

pub mod churn;
mod error;
pub mod load;
mod lost_syns;
mod namespace;
pub mod pace;
pub mod places;
mod probe;
pub mod sctp;
mod server;
mod wiring;

pub use error::LabError;
pub use namespace::Namespace;
pub use probe::{Outcome, Probe, endpoints};
pub use server::{Listen, Server, serve_here};

use places::{
    DAEMON_NAME, DAEMON_PORT, Home, LOCAL_PODS, NODE, POD_BRIDGE, Place, REMOTE_NODE, REMOTE_PODS,
    ROUTER, SERVED_PORTS,
};
use wiring::{Namespaces, pod_port};

/// A lab. Dropping it ends its servers and removes its namespaces.
#[derive(Debug)]
pub struct Lab {
    // Servers end before the namespaces they keep alive.
    servers: Vec<Server>,
    namespaces: Namespaces,
}

impl Lab {
    /// Builds a lab (some 100 ms). Needs root and the programs `ip` and `nft`.
    pub fn up() -> Result<Self, LabError> {
        let namespaces = Namespaces::new()?;
        let mut lab = Self {
            servers: Vec::new(),
            namespaces,
        };
        lab.start_servers()?;
        Ok(lab)
    }

    fn start_servers(&mut self) -> Result<(), LabError> {
        let hosts = LOCAL_PODS.iter().map(|pod| vec![serving(pod)]);
        let hosts = hosts.chain([
            vec![serving(&NODE), daemon()],
            [REMOTE_NODE]
                .iter()
                .chain(&REMOTE_PODS)
                .map(serving)
                .collect(),
            vec![serving(&ROUTER)],
        ]);
        let homes = LOCAL_PODS.iter().chain([&NODE, &REMOTE_NODE, &ROUTER]);
        self.servers = homes
            .zip(hosts)
            .map(|(place, listen)| Server::start(self.namespace(place), &listen))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The node under test.
    pub fn node(&self) -> &Namespace {
        &self.namespaces.node
    }

    /// The namespace somebody lives in.
    pub fn namespace(&self, place: &Place) -> &Namespace {
        match place.home {
            Home::Client => &self.namespaces.client,
            Home::Neighbour => &self.namespaces.neighbour,
            Home::Node => &self.namespaces.node,
            Home::Pod(index) => &self.namespaces.pods[index],
            Home::Remote => &self.namespaces.remote,
            Home::Router => &self.namespaces.router,
        }
    }

    /// Runs one probe from where `from` lives.
    pub fn probe(&self, from: &Place, probe: &Probe) -> Result<Outcome, LabError> {
        let probe = *probe;
        self.namespace(from).run(move || probe.run())
    }

    /// Runs probes from where `from` lives, all at the same time. SCTP probes between the same two addresses share what
    /// ICMP tells any of them, so such a batch should expect one outcome.
    pub fn probe_all(&self, from: &Place, probes: Vec<Probe>) -> Result<Vec<Outcome>, LabError> {
        self.namespace(from).run(move || {
            let running: Vec<JoinHandle<Outcome>> = probes
                .into_iter()
                .map(|probe| std::thread::spawn(move || probe.run()))
                .collect();
            running
                .into_iter()
                .map(|probe| {
                    probe
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        })
    }

    /// Lets the bridge send a frame back to the pod it came from, or not. Pods start with it on.
    pub fn set_hairpin(&self, pod: &Place, on: bool) -> Result<(), LabError> {
        let (port, value) = (pod_port(pod), if on { "on" } else { "off" });
        self.node().ip(&format!(
            "link set {port} type bridge_slave hairpin {value}"
        ))
    }

    /// Lets the pod bridge take every frame, or not.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), LabError> {
        let value = if on { "on" } else { "off" };
        self.node()
            .ip(&format!("link set {POD_BRIDGE} promisc {value}"))
    }
}

fn serving(place: &Place) -> Listen {
    Listen {
        name: place.name.to_owned(),
        addresses: Family::ALL.map(|family| place.ip(family)).into(),
        ports: SERVED_PORTS.into(),
        protocols: Protocol::ALL.into(),
    }
}

fn daemon() -> Listen {
    Listen {
        name: DAEMON_NAME.to_owned(),
        addresses: vec![IpAddr::from([0; 4]), IpAddr::from([0; 16])],
        ports: vec![DAEMON_PORT],
        protocols: vec![Protocol::Tcp],
    }
}
