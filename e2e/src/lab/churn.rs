//! Short TCP connections one after the other, as fast as they go, and how long each took to be there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::lost_syns::LostSyns;
use super::places::Place;
use super::{Lab, LabError, Outcome};

/// A connection that waited so long waited for a SYN that was sent again, after 1 s.
const STALL: Duration = Duration::from_millis(950);

/// How long anything may take until it counts as lost: three SYNs.
const PATIENCE: Duration = Duration::from_secs(4);

/// Who connects where, and how.
#[derive(Debug, Clone, Copy)]
pub struct Churn {
    /// The client.
    pub from: Place,
    /// Where to.
    pub to: SocketAddr,
    /// Connections at a time.
    pub workers: usize,
    /// Rest between two connections of a worker.
    pub rest: Duration,
}

/// Connections that are being made until [`stop`](Self::stop), or until so many were made.
#[derive(Debug)]
pub struct Churning {
    stop: Arc<AtomicBool>,
    lost_syns: LostSyns,
    started: Instant,
    namespace_name: String,
    workers: Vec<JoinHandle<Vec<Connection>>>,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it was begun.
    pub at: Instant,
    /// How long it took until it was established.
    pub connected_in: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of all.
#[derive(Debug, Clone)]
pub struct ChurnReport {
    /// How long it went on.
    pub lasted: Duration,
    /// Each of them, but those for which the client had no port.
    pub connections: Vec<Connection>,
    /// How often the client itself had no port left (`EADDRNOTAVAIL`).
    pub without_port: usize,
    /// SYNs that the client's host sent again.
    pub syn_retransmits: u64,
}

impl Churn {
    /// Connections from one place, `workers` at a time.
    pub fn new(from: Place, to: SocketAddr, workers: usize) -> Self {
        Self {
            from,
            to,
            workers,
            rest: Duration::ZERO,
        }
    }

    /// Makes `count` connections.
    pub fn run(self, lab: &Lab, count: usize) -> Result<ChurnReport, LabError> {
        self.launch(lab, count)?.finish()
    }

    /// Makes connections until it is stopped.
    pub fn start(self, lab: &Lab) -> Result<Churning, LabError> {
        self.launch(lab, usize::MAX)
    }

    fn launch(self, lab: &Lab, count: usize) -> Result<Churning, LabError> {
        let namespace = lab.namespace(&self.from);
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let lost_syns = LostSyns::of(namespace)?;
        let worker = |_| {
            let (stop, made) = (stop.clone(), made.clone());
            namespace.spawn(move || {
                let mut connections = Vec::new();
                while !stop.load(Ordering::Relaxed) && made.fetch_add(1, Ordering::Relaxed) < count
                {
                    connections.push(self.connect());
                    std::thread::sleep(self.rest);
                }
                connections
            })
        };
        Ok(Churning {
            workers: (0..self.workers).map(worker).collect::<Result<_, _>>()?,
            stop,
            lost_syns,
            started: Instant::now(),
            namespace_name: namespace.name().to_owned(),
        })
    }

    fn connect(&self) -> Connection {
        let at = Instant::now();
        let mut connected_in = Duration::ZERO;
        let outcome = self.try_connect(at, &mut connected_in);
        Connection {
            at,
            connected_in,
            outcome: outcome.unwrap_or_else(|error| Outcome::of_error(&error)),
        }
    }

    /// The client ends it first, so that its port waits in `TIME_WAIT` there, as those of most clients do.
    fn try_connect(&self, at: Instant, connected_in: &mut Duration) -> io::Result<Outcome> {
        let socket = Socket::new(Domain::for_address(self.to), Type::STREAM, None)?;
        // Not bound: the port is picked at connect(), for this destination alone.
        let connected = socket.connect_timeout(&self.to.into(), PATIENCE);
        *connected_in = at.elapsed();
        connected?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_string(&mut String::new())?;
        Ok(Outcome::of_greeting(&line))
    }
}

impl Churning {
    /// Stops and tells what happened.
    pub fn stop(self) -> Result<ChurnReport, LabError> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    fn finish(mut self) -> Result<ChurnReport, LabError> {
        let mut connections = Vec::new();
        for worker in self.workers {
            let made = worker.join().map_err(|_| LabError::ThreadGone {
                name: self.namespace_name.clone(),
            })?;
            connections.extend(made);
        }
        let all = connections.len();
        connections
            .retain(|connection| connection.outcome != Outcome::Failed(Errno::EADDRNOTAVAIL));
        Ok(ChurnReport {
            lasted: self.started.elapsed(),
            without_port: all - connections.len(),
            connections,
            syn_retransmits: self.lost_syns.count()?,
        })
    }
}

impl ChurnReport {
    /// Connections that no server answered.
    pub fn failed(&self) -> impl Iterator<Item = &Connection> {
        let connections = self.connections.iter();
        connections.filter(|connection| connection.outcome.endpoint().is_none())
    }

    /// Connections that were established, but only after a SYN was sent again.
    pub fn stalled(&self) -> usize {
        let late = |one: &&Connection| one.connected_in >= STALL;
        self.answered().filter(late).count()
    }

    /// How often each server answered connections that were begun in this time.
    pub fn answers(&self, during: &Range<Instant>) -> BTreeMap<&str, usize> {
        let mut answers = BTreeMap::new();
        for one in self.answered().filter(|one| during.contains(&one.at)) {
            let endpoint = one.outcome.endpoint().unwrap_or_default();
            *answers.entry(endpoint).or_default() += 1;
        }
        answers
    }

    /// The time in which so many of a hundred connections were established.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times: Vec<Duration> = self.answered().map(|one| one.connected_in).collect();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get(last * percent / 100).copied().unwrap_or_default()
    }

    fn answered(&self) -> impl Iterator<Item = &Connection> {
        let connections = self.connections.iter();
        connections.filter(|connection| connection.outcome.endpoint().is_some())
    }
}

impl fmt::Display for ChurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.connections.len();
        let count_f = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        write!(
            f,
            "{count} connections in {:.1} s ({:.0}/s): {} failed, {} stalled, {} SYNs sent again, {} without a port; connected within {:.1?} (p50), {:.1?} (p99), {:.1?} (all)",
            self.lasted.as_secs_f64(),
            count_f / self.lasted.as_secs_f64(),
            self.failed().count(),
            self.stalled(),
            self.syn_retransmits,
            self.without_port,
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
        )
    }
}

/// Leaves a client `count` ports for all its connections, and lets it use each again a second after a connection ended there.
pub fn narrow_ports(lab: &Lab, client: &Place, count: u16) -> Result<(), LabError> {
    const FIRST: u16 = 40_000;
    let namespace = lab.namespace(client);
    let range = format!("{FIRST} {}", FIRST + count - 1);
    namespace.sysctl("net/ipv4/ip_local_port_range", &range)?;
    namespace.sysctl("net/ipv4/tcp_tw_reuse", "1")
}
