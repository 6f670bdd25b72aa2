//! Who asks for a service: somebody outside, or a pod.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::daemon::end_of;
use super::error::{KindError, failed};
use crate::lab::pace::stretched;
use crate::lab::{Outcome, endpoints};

/// Runs the pods' program as a client: `probe`, `resolve`, `connect`, `http-status`, `load`.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    cluster: &'a Cluster,
    place: Place<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Outside { program: &'a Path },
    Pod { namespace: &'a str, name: &'a str },
}

/// New connections and long ones, until it is stopped.
#[derive(Debug)]
pub struct Load {
    child: Child,
    /// What it prints, read as it comes: it would stand still before a pipe that is full.
    printed: Receiver<String>,
    lines: Vec<String>,
}

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Outside { .. } => f.write_str("somebody outside"),
            Place::Pod { name, .. } => f.write_str(name),
        }
    }
}

/// A load says little of what was over before it opened more connections than this.
const LEAST: usize = 80;
/// How long a service may take to be served for a client too, and a load to begin and to open that many.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a load.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// How many connections were opened.
    pub attempts: usize,
    /// Those that failed, with the milliseconds from the start of the load to theirs.
    pub failures: Vec<String>,
    /// Answers by pod.
    pub answers: BTreeMap<String, usize>,
}

impl<'a> Client<'a> {
    /// On the nodes' network, but no node.
    pub fn outside(cluster: &'a Cluster, program: &'a Path) -> Self {
        let place = Place::Outside { program };
        Self { cluster, place }
    }

    /// A pod whose image is the program.
    pub fn pod(cluster: &'a Cluster, namespace: &'a str, name: &'a str) -> Self {
        let place = Place::Pod { namespace, name };
        Self { cluster, place }
    }

    /// Probes a service so many times.
    pub fn probe(
        &self,
        protocol: &str,
        to: SocketAddr,
        count: u32,
    ) -> Result<Vec<Outcome>, KindError> {
        let (to, count) = (to.to_string(), count.to_string());
        let lines = self.run(&["probe", protocol, &to, "--count", &count])?;
        Ok(lines.lines().map(Outcome::of_line).collect())
    }

    /// Probes once and waits a second for the answer at most.
    pub fn probe_briefly(&self, protocol: &str, to: SocketAddr) -> Result<Outcome, KindError> {
        let to = to.to_string();
        let lines = self.run(&["probe", protocol, &to, "--patience", "1000"])?;
        Ok(Outcome::of_line(lines.trim()))
    }

    /// The pods that answered some probes; an error if one was not answered.
    pub fn reached(
        &self,
        protocol: &str,
        to: SocketAddr,
        count: u32,
    ) -> Result<Vec<String>, KindError> {
        let outcomes = self.probe(protocol, to, count)?;
        if let Some(failure) = outcomes.iter().find(|outcome| outcome.endpoint().is_none()) {
            return Err(KindError::Unintelligible {
                what: format!("{protocol} {to}"),
                message: failure.to_string(),
            });
        }
        Ok(endpoints(&outcomes)
            .into_iter()
            .map(ToOwned::to_owned)
            .collect())
    }

    /// The addresses of a name.
    pub fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, KindError> {
        let lines = self.run(&["resolve", name])?;
        let mut addresses: Vec<IpAddr> =
            lines.lines().filter_map(|line| line.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }

    /// Opens and closes a TCP connection.
    pub fn connect(&self, to: SocketAddr) -> Result<(), KindError> {
        self.run(&["connect", &to.to_string()]).map(drop)
    }

    /// The status of an HTTP answer, as 200.
    pub fn http_status(&self, from: SocketAddr, path: &str) -> Result<u16, KindError> {
        let said = self.run(&["http-status", &from.to_string(), path])?;
        said.trim().parse().map_err(|_| KindError::Unintelligible {
            what: format!("http://{from}{path}"),
            message: said,
        })
    }

    /// Starts a load when the service answers this client, who may be on another node or of another family than whom it answered before;
    /// returns when a connection of the load was answered.
    pub fn load(&self, to: SocketAddr) -> Result<Load, KindError> {
        Cluster::eventually(&format!("{self} reaches {to}"), PATIENCE, || {
            self.reached("tcp", to, 8)
                .map_err(|error| error.to_string())
        })?;
        let command = self.command(&["load", &to.to_string()]);
        let started = self.cluster.outside().start(command)?;
        let mut child = started.map_err(failed("start a load"))?;
        let (lines, printed) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let all = BufReader::new(stdout).lines().map_while(Result::ok);
                // Nobody listens to one that is not stopped but dropped.
                let _ = all.map(|line| lines.send(line)).all(|sent| sent.is_ok());
            });
        }
        let mut load = Load {
            child,
            printed,
            lines: Vec::new(),
        };
        load.read_until(|load| !load.report().answers.is_empty());
        Ok(load)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, KindError> {
        let daemon = self.cluster.daemon();
        match self.place {
            Place::Outside { program } => daemon.run(&program.display().to_string(), arguments),
            Place::Pod { namespace, name } => daemon.run(
                "kubectl",
                &[&in_pod(namespace, name)[..], arguments].concat(),
            ),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let daemon = self.cluster.daemon();
        match self.place {
            Place::Outside { program } => daemon.command(&program.display().to_string(), arguments),
            Place::Pod { namespace, name } => daemon.command(
                "kubectl",
                &[&in_pod(namespace, name)[..], arguments].concat(),
            ),
        }
    }
}

fn in_pod<'a>(namespace: &'a str, name: &'a str) -> [&'a str; 7] {
    [
        "exec",
        "--stdin",
        "--namespace",
        namespace,
        name,
        "--",
        "/program",
    ]
}

impl Load {
    /// Ends it when it has opened some connections, waits for the last answers, and tells what became of it.
    pub fn stop(mut self) -> Result<LoadReport, KindError> {
        self.read_until(|load| load.lines.len() > LEAST);
        drop(self.child.stdin.take());
        self.lines.extend(self.printed.iter());
        let report = self.report();
        let output = self
            .child
            .wait_with_output()
            .map_err(failed("end a load"))?;
        if !output.status.success() {
            return Err(KindError::Program {
                command: "load".to_owned(),
                message: end_of(&String::from_utf8_lossy(&output.stderr)),
            });
        }
        Ok(report)
    }

    /// Reads what it prints until this is so, or no more comes.
    fn read_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + stretched(PATIENCE);
        while !is_so(self) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.printed.recv_timeout(left) else {
                break;
            };
            self.lines.push(line);
        }
    }

    fn report(&self) -> LoadReport {
        let mut report = LoadReport::default();
        for line in &self.lines {
            let outcome = line
                .split_once(' ')
                .map(|(_, outcome)| Outcome::of_line(outcome));
            report.attempts += 1;
            match outcome.as_ref().and_then(Outcome::endpoint) {
                Some(pod) => *report.answers.entry(pod.to_owned()).or_default() += 1,
                None => report.failures.push(line.clone()),
            }
        }
        report
    }
}
