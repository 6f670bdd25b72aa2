//! A node of a lab of its own, served by one of those that are compared.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::control_plane::{ControlPlane, Relay};
use sluice_e2e::kube_proxy_process::KubeProxyProcess;
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, NODE};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::Row;
use sluice_e2e::packets::probing::observe;
use sluice_e2e::packets::row::Scene;
use sluice_e2e::packets::surroundings::Surrounding;
use sluice_service_plan::model::Family;

use crate::marker::Marker;
use crate::peers::Peer;
use crate::settings::{agent_flags, kube_proxy_fields};

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");
/// For the first program, and for any change.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// After the marker a proxy may have the last steps of its change ahead.
const LAST_STEPS: Duration = Duration::from_millis(250);
const LOOKS: u32 = 20;

enum Process {
    Sluice(AgentProcess),
    KubeProxy(KubeProxyProcess),
}

/// See the module.
pub(crate) struct Node {
    pub(crate) peer: Peer,
    // Before the lab: they live in one of its namespaces.
    process: Process,
    _relay: Relay,
    lab: Lab,
    surroundings: BTreeSet<Surrounding>,
}

impl Node {
    /// Starts it with a scene's settings.
    pub(crate) fn start(peer: Peer, control_plane: &ControlPlane, scene: &Scene) -> Self {
        let lab = Lab::up().unwrap();
        let relay = Relay::start(control_plane, lab.node()).unwrap();
        let (name, kubeconfig) = (&scene.node.name, control_plane.kubeconfig());
        let process = if let Some(mode) = peer.mode {
            let fields = kube_proxy_fields(&scene.settings, &scene.node);
            let mode = mode.of_process();
            let started =
                KubeProxyProcess::start_with(lab.node(), name, &kubeconfig, mode, &fields);
            Process::KubeProxy(started.unwrap())
        } else {
            let agent = Path::new(AGENT);
            let mut agent = AgentProcess::with_kubeconfig(agent, name, &kubeconfig).unwrap();
            let mode = if peer.balances_by_ipvs {
                "ipvs"
            } else {
                "iptables"
            };
            agent.add_flags(&["--mode", mode, "--iptables-variant", "nft"]);
            let flags = agent_flags(&scene.settings, &scene.node);
            agent.add_flags(&flags.iter().map(String::as_str).collect::<Vec<_>>());
            agent.start(lab.node()).unwrap();
            Process::Sluice(agent)
        };
        Self {
            peer,
            process,
            _relay: relay,
            lab,
            surroundings: BTreeSet::new(),
        }
    }

    /// Starts and ends what else lives on the node.
    pub(crate) fn surround(&mut self, surroundings: &BTreeSet<Surrounding>) {
        let (node, programs) = (self.lab.node(), self.peer.others);
        for gone in self.surroundings.difference(surroundings) {
            gone.stop(node, programs).unwrap();
        }
        for new in surroundings.difference(&self.surroundings) {
            new.start(node, programs).unwrap();
        }
        self.surroundings.clone_from(surroundings);
    }

    /// Waits until it serves the marker as it is now, in both families: each may have a proxy of its own.
    pub(crate) fn wait_for(&self, marker: Marker) {
        let begun = Instant::now();
        for family in Family::ALL {
            loop {
                let seen = self.look_at(marker, family);
                if matches!(&seen, Outcome::Reached { endpoint, port, .. }
                    if endpoint == A1.name && *port == marker.target_port())
                {
                    break;
                }
                assert!(
                    begun.elapsed() < stretched(PATIENCE),
                    "{}: {marker:?} of {family:?} never came, but {seen}\n{}",
                    self.peer.name,
                    self.log()
                );
                sleep(LOOKS_EVERY);
            }
        }
    }

    /// The node itself looks: nothing that others do to forwarded packets is in the way.
    fn look_at(&self, marker: Marker, family: Family) -> Outcome {
        let source = Some(NODE.ip(family));
        let probe = Probe::new(Marker::PROTOCOL, source, marker.address(family));
        self.lab.probe(&NODE, &probe.expecting_silence()).unwrap()
    }

    /// Which of these expectations of a row comes true at one of many looks; else what happens instead.
    pub(crate) fn agreement(&self, expectations: &[&Row]) -> Result<usize, String> {
        let mut seen = String::new();
        for _ in 0..LOOKS {
            for (number, row) in expectations.iter().enumerate() {
                match observe(&self.lab, row).unwrap() {
                    None => return Ok(number),
                    Some(other) => seen = other,
                }
            }
            sleep(stretched(LAST_STEPS));
        }
        Err(seen)
    }

    /// What it holds of the row's family, where `SLUICE_DUMP` asks for it.
    pub(crate) fn dump(&self) -> String {
        if std::env::var_os("SLUICE_DUMP").is_none() {
            return String::new();
        }
        let commands = ["nft list ruleset", "ip route show table local"];
        let lists = commands.map(|command| self.lab.node().command(command).unwrap());
        format!("{}\n{}", lists.concat(), self.log())
    }

    fn log(&self) -> String {
        match &self.process {
            Process::Sluice(agent) => agent.log(),
            Process::KubeProxy(proxy) => proxy.end_of_log(),
        }
    }
}
