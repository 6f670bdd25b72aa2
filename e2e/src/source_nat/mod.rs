//! Many short connections, and what source NAT and connection tracking made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sluice_kernel::conntrack::{ConntrackError, ConntrackNetlink, ConntrackStatistics};
use sluice_service_plan::model::Family;
use socket2::{Domain, Socket, Type};

use crate::lab::places::{CLIENT, CLIENT_ADDRESSES};
use crate::lab::{Lab, LabError};

/// Connections at the same time; each client of the lab makes one after the other.
const CLIENTS: u8 = 16;
/// How long a connection may take: long enough for two repetitions of a lost SYN, which the report then shows.
const PATIENCE: Duration = Duration::from_secs(5);

/// Errors of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StormError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The node's connection tracking tells no statistics.
    #[error(transparent)]
    Conntrack(#[from] ConntrackError),
    /// The client's TCP counters.
    #[error("cannot read the TCP counters of the client's network namespace")]
    Counters(#[from] io::Error),
}

/// What became of a storm of connections.
#[derive(Debug, Clone)]
pub struct StormReport {
    /// How many were made.
    pub connections: u32,
    /// From the first to the last.
    pub took: Duration,
    /// Why connections failed, and how many so.
    pub failures: BTreeMap<String, u32>,
    /// Clients' addresses as the servers saw them, and how often.
    pub sources: BTreeMap<IpAddr, u32>,
    /// Time from connecting to the server's first byte, of all that were answered; sorted.
    latencies: Vec<Duration>,
    /// Packets that the node dropped because another entry had taken their tuple.
    pub insert_failed: u64,
    /// Packets that the node dropped because there was no room for their entry.
    pub dropped: u64,
    /// Segments that the client sent again.
    pub retransmissions: u64,
}

impl StormReport {
    /// The latency that this share of the connections, in percent, did not exceed.
    pub fn latency(&self, percent: usize) -> Duration {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().max(1) - 1);
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: u32 = self.failures.values().sum();
        let (p50, p99) = (self.latency(50), self.latency(99));
        write!(
            f,
            "{} connections in {:.1} s: {failed} failed, p50 {:.2} ms, p99 {:.2} ms, insert_failed {}, dropped {}, \
             {} segments sent again, sources {:?}",
            self.connections,
            self.took.as_secs_f64(),
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            self.insert_failed,
            self.dropped,
            self.retransmissions,
            self.sources
        )
    }
}

/// Makes `connections` TCP connections from the lab's outside client to `to`, as fast as they get through; each is reset
/// by the client when the server's greeting is there.
pub fn storm(lab: &Lab, to: SocketAddr, connections: u32) -> Result<StormReport, StormError> {
    let before = (statistics(lab)?, retransmissions(lab)?);
    let left = Arc::new(AtomicU32::new(connections));
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let left = left.clone();
            let home = lab.namespace(&CLIENT);
            home.spawn(move || one_client(client, to, &left))
        })
        .collect::<Result<_, _>>()?;
    let mut report = StormReport {
        connections,
        took: Duration::ZERO,
        failures: BTreeMap::new(),
        sources: BTreeMap::new(),
        latencies: Vec::new(),
        insert_failed: 0,
        dropped: 0,
        retransmissions: 0,
    };
    for client in clients {
        let seen = client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for outcome in seen {
            report.take(outcome);
        }
    }
    report.took = start.elapsed();
    report.latencies.sort_unstable();
    let after = (statistics(lab)?, retransmissions(lab)?);
    report.insert_failed = after.0.insert_failed - before.0.insert_failed;
    report.dropped = after.0.dropped - before.0.dropped;
    report.retransmissions = after.1 - before.1;
    Ok(report)
}

impl StormReport {
    fn take(&mut self, outcome: io::Result<Answered>) {
        match outcome {
            Ok(answered) => {
                *self.sources.entry(answered.seen_as).or_default() += 1;
                self.latencies.push(answered.after);
            }
            Err(error) => *self.failures.entry(error.to_string()).or_default() += 1,
        }
    }
}

struct Answered {
    seen_as: IpAddr,
    after: Duration,
}

/// Uses several addresses: many clients behind one node have the same source ports in use.
fn one_client(client: u8, to: SocketAddr, left: &AtomicU32) -> Vec<io::Result<Answered>> {
    let step = |n: u32| n.checked_sub(1);
    let mut addresses = (client..CLIENT_ADDRESSES).step_by(CLIENTS.into()).cycle();
    let mut outcomes = Vec::new();
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
        .is_ok()
    {
        let address = CLIENT.shifted(addresses.next().unwrap_or_default());
        outcomes.push(connect(address.ip(Family::of(to.ip())), to));
    }
    outcomes
}

fn connect(from: IpAddr, to: SocketAddr) -> io::Result<Answered> {
    let start = Instant::now();
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let seen = line.split_whitespace().nth(2);
    let seen: Option<SocketAddr> = seen.and_then(|seen| seen.parse().ok());
    let seen_as = seen.ok_or(io::ErrorKind::InvalidData)?.ip();
    let after = start.elapsed();
    Ok(Answered { seen_as, after })
}

fn statistics(lab: &Lab) -> Result<ConntrackStatistics, StormError> {
    Ok(lab
        .node()
        .run(|| ConntrackNetlink::open()?.statistics())??)
}

/// `RetransSegs` of the client's namespace, RFC 4022.
fn retransmissions(lab: &Lab) -> Result<u64, StormError> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
    let text = lab.namespace(&CLIENT).run(read)??;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next(), lines.next());
    let mut pairs = names
        .into_iter()
        .flat_map(str::split_whitespace)
        .zip(values.into_iter().flat_map(str::split_whitespace));
    let value = pairs.find(|(name, _)| *name == "RetransSegs");
    value
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| StormError::Counters(io::ErrorKind::InvalidData.into()))
}
