//! A Sluice node in namespaces, shown at work. Each step is checked: what is shown is so, or the demo fails.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluice_service_plan::model::Protocol;

use crate::agent_process::{AgentProcess, AgentProcessError};
use crate::lab::load::{Load, Route};
use crate::lab::places::{A1, CLIENT, LOCAL_PODS, NEIGHBOUR, NODE, NODE_BRIDGE, Place};
use crate::lab::{Lab, LabError, Outcome, Probe};

/// The node's name in `examples/`.
const NODE_NAME: &str = "demo-node";

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentProcessError),
    /// Manifests.
    #[error("cannot change the manifests")]
    Manifests(#[from] std::io::Error),
    /// Something that is shown is not so.
    #[error("not as it should be: {0}")]
    NotSo(String),
}

/// A node, an agent, and the steps shown so far.
pub struct Demo {
    // The agent ends before the lab's namespaces.
    agent: AgentProcess,
    lab: Lab,
    started: Instant,
}

impl Demo {
    /// Builds the lab and starts the agent on the manifests of a directory.
    pub fn start(program: &Path, examples: &Path) -> Result<Self, DemoError> {
        let started = Instant::now();
        let lab = Lab::up()?;
        say(
            started,
            "a node with three pods, another node, two clients outside: namespaces, nothing of this machine's network",
        );
        let mut agent = AgentProcess::new(program, NODE_NAME)?;
        for file in std::fs::read_dir(examples)? {
            let file = file?.path();
            if let Some(name) = file.file_name().filter(|_| file.is_file()) {
                std::fs::copy(&file, agent.manifests().join(name))?;
            }
        }
        agent.start(lab.node())?;
        let demo = Self {
            agent,
            lab,
            started,
        };
        demo.agent
            .wait_until_healthy(demo.lab.node(), Duration::from_secs(20))?;
        demo.say("sluice-agent runs on the node with examples/*.yaml, and says that it is healthy");
        Ok(demo)
    }

    /// Shows everything, step by step.
    pub fn show(&self) -> Result<(), DemoError> {
        self.spreading()?;
        self.node_port()?;
        self.hairpin()?;
        self.affinity()?;
        self.source_ranges()?;
        self.rolling_change()?;
        self.explanation()?;
        self.syncs()?;
        self.say("done: all of it was so");
        Ok(())
    }

    /// The agent's process and directory, which an interrupted demo has to end and remove.
    pub fn agent(&self) -> (Option<u32>, PathBuf) {
        (self.agent.id(), self.agent.path(""))
    }

    fn spreading(&self) -> Result<(), DemoError> {
        const PROBES: usize = 300;
        let outcomes = self.many(&CLIENT, "10.96.0.80:80", PROBES)?;
        let counts = counted(&outcomes)?;
        // Five standard deviations of a fair share: one run in a million is further off.
        let fair = PROBES as f64 / LOCAL_PODS.len() as f64;
        let slack = 5.0 * (fair * (1.0 - 1.0 / LOCAL_PODS.len() as f64)).sqrt();
        let even = counts.len() == LOCAL_PODS.len()
            && counts.values().all(|n| (*n as f64 - fair).abs() < slack);
        self.check(
            even,
            format!("spreading: {PROBES} connections to the cluster IP went to {counts:?}"),
        )
    }

    fn node_port(&self) -> Result<(), DemoError> {
        let outcome = self.one(&CLIENT, "192.0.2.10:30080")?;
        let seen = source(&outcome)?;
        self.check(
            seen == IpAddr::V4(NODE_BRIDGE.v4),
            format!("node port: 192.0.2.10:30080 {outcome}, the node's own address, so that the answer comes back"),
        )
    }

    fn hairpin(&self) -> Result<(), DemoError> {
        for _ in 0..100 {
            let outcome = self.one(&A1, "10.96.0.80:80")?;
            let seen = source(&outcome)?;
            if outcome.endpoint() == Some(A1.name) {
                return self.check(
                    seen != IpAddr::V4(A1.v4),
                    format!(
                        "hairpin: pod {} asked its own service and {outcome}, not as itself",
                        A1.name
                    ),
                );
            }
        }
        Err(DemoError::NotSo(format!(
            "hairpin: in 100 connections pod {} never met itself",
            A1.name
        )))
    }

    fn affinity(&self) -> Result<(), DemoError> {
        let outcomes = self.sticky(&CLIENT, "10.96.0.81:80", 30)?;
        let first = counted(&outcomes)?;
        let mut others = BTreeMap::new();
        for offset in 1..=20 {
            for (endpoint, count) in
                counted(&self.sticky(&CLIENT.shifted(offset), "10.96.0.81:80", 2)?)?
            {
                if count != 2 {
                    return Err(DemoError::NotSo(format!(
                        "affinity: client {offset} was sent to two endpoints"
                    )));
                }
                *others.entry(endpoint).or_insert(0) += 1;
            }
        }
        self.check(
            first.len() == 1 && others.len() > 1,
            format!("affinity: 30 connections of one client went to {first:?}; 20 other clients are spread over {others:?}"),
        )
    }

    fn source_ranges(&self) -> Result<(), DemoError> {
        let allowed = self.one(&CLIENT, "203.0.113.82:80")?;
        let refused = self.one(&NEIGHBOUR, "203.0.113.82:80")?;
        self.check(
            allowed.endpoint().is_some() && refused == Outcome::TimedOut,
            format!(
                "source ranges 192.0.2.0/25: {} {allowed}; {} got {refused}",
                CLIENT.v4, NEIGHBOUR.v4
            ),
        )
    }

    /// Every endpoint goes and comes back, one after the other, while clients connect.
    fn rolling_change(&self) -> Result<(), DemoError> {
        let to = address("10.96.0.80:80");
        let route = Route {
            from: CLIENT,
            to,
            patience: Duration::from_secs(2),
        };
        let load = Load::new_connections(&self.lab, route, 200)?;
        let text = std::fs::read_to_string(self.agent.manifests().join("web.yaml"))?;
        for round in 0..3 {
            let pod = LOCAL_PODS[round % LOCAL_PODS.len()];
            let address = format!("[{}]", pod.v4);
            let without: String = text
                .split_inclusive('\n')
                .filter(|line| !line.contains(&address))
                .collect();
            for manifest in [&without, &text] {
                self.agent.write("web.yaml", manifest)?;
                std::thread::sleep(Duration::from_millis(600));
            }
        }
        let report = load.stop()?;
        let (all, failures) = (report.attempts.len(), report.failures());
        self.check(
            failures.is_empty() && report.syn_retransmits == 0,
            format!(
                "rolling change: each endpoint went and came back while {all} connections were opened: {} failed, slowest {:.0} ms{}",
                failures.len(),
                report.slowest().as_secs_f64() * 1e3,
                failures.first().map(|(at, outcome)| format!(", the first {outcome} at {at:?}")).unwrap_or_default()
            ),
        )
    }

    fn explanation(&self) -> Result<(), DemoError> {
        let from = CLIENT.v4.to_string();
        let text = self.agent.ask(
            self.lab.node(),
            "explain",
            &["--from", &from, "--to", "192.0.2.10:30080/tcp"],
        )?;
        self.say(&format!(
            "sluice-agent explain --from {from} --to {}:30080/tcp",
            NODE.v4
        ));
        for line in text.lines() {
            println!("             {line}");
        }
        Ok(())
    }

    fn syncs(&self) -> Result<(), DemoError> {
        for (what, name) in [
            ("full", "kubeproxy_sync_full_proxy_rules_duration_seconds"),
            (
                "partial",
                "kubeproxy_sync_partial_proxy_rules_duration_seconds",
            ),
        ] {
            let total = |sample: &str| {
                let name = format!("{name}_{sample}");
                self.agent.metric(self.lab.node(), &name)
            };
            let (count, sum) = (total("count")?, total("sum")?);
            if count > 0.0 {
                self.say(&format!(
                    "syncs: {count} {what} ones took {:.0} ms each on average",
                    sum / count * 1e3
                ));
            }
        }
        Ok(())
    }

    /// The first connection alone: of two that start at the same moment, neither finds the other's memory.
    fn sticky(&self, from: &Place, to: &str, count: usize) -> Result<Vec<Outcome>, DemoError> {
        let mut outcomes = vec![self.one(from, to)?];
        outcomes.extend(self.many(from, to, count - 1)?);
        Ok(outcomes)
    }

    fn one(&self, from: &Place, to: &str) -> Result<Outcome, DemoError> {
        Ok(self.lab.probe(from, &probe(from, to))?)
    }

    fn many(&self, from: &Place, to: &str, count: usize) -> Result<Vec<Outcome>, DemoError> {
        let mut outcomes = Vec::new();
        while outcomes.len() < count {
            let batch = (count - outcomes.len()).min(50);
            outcomes.extend(self.lab.probe_all(from, vec![probe(from, to); batch])?);
        }
        Ok(outcomes)
    }

    fn check(&self, so: bool, what: String) -> Result<(), DemoError> {
        if so {
            self.say(&what);
            Ok(())
        } else {
            Err(DemoError::NotSo(what))
        }
    }

    fn say(&self, what: &str) {
        say(self.started, what);
    }
}

fn say(started: Instant, what: &str) {
    println!("[{:>8.3} s] {what}", started.elapsed().as_secs_f64());
}

fn probe(from: &Place, to: &str) -> Probe {
    let to = address(to);
    let patience = Duration::from_secs(1);
    Probe {
        patience,
        ..Probe::new(Protocol::Tcp, Some(IpAddr::V4(from.v4)), to)
    }
}

/// Of an address that is written in this file.
fn address(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn counted(outcomes: &[Outcome]) -> Result<BTreeMap<String, usize>, DemoError> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        let endpoint = outcome
            .endpoint()
            .ok_or_else(|| DemoError::NotSo(format!("a connection {outcome}")))?;
        *counts.entry(endpoint.to_owned()).or_insert(0) += 1;
    }
    Ok(counts)
}

fn source(outcome: &Outcome) -> Result<IpAddr, DemoError> {
    match outcome {
        Outcome::Reached { source, .. } => Ok(source.ip()),
        other => Err(DemoError::NotSo(format!("a connection {other}"))),
    }
}
