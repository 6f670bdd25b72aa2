//! Steady load while something changes, and what of it failed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sluice_service_plan::model::{Family, Protocol};

use super::lost_syns::LostSyns;
use super::pace::stretched;
use super::places::Place;
use super::probe::BEFORE_RESENDING;
use super::{Lab, LabError, Outcome, Probe};

/// Time that enough load may take to be made.
const PATIENCE: Duration = Duration::from_secs(60);

/// Load that runs until [`stop`](Self::stop), or until it is dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    started: Instant,
    attempts: Receiver<Attempt>,
    /// Those that were looked at while the load runs.
    seen: Vec<Attempt>,
    threads: Vec<JoinHandle<()>>,
    lost_syns: LostSyns,
}

/// Who sends where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The client; its address is the source.
    pub from: Place,
    /// Where to.
    pub to: SocketAddr,
    /// How long an answer may take.
    pub patience: Duration,
}

/// One connection, datagram or byte, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it was started.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a load.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// When the load started.
    pub started: Instant,
    /// All attempts, by the time they ended.
    pub attempts: Vec<Attempt>,
    /// SYNs that the client's host sent again meanwhile, for whatever load; none where no attempt took the second after which that happens: other
    /// programs of the host connect too. Where an answer may take longer, a connection that was lost at first shows here only.
    pub syn_retransmits: u64,
}

impl Load {
    /// Opens `per_second` TCP connections a second, each a new one, whether or not earlier ones were answered.
    pub fn new_connections(lab: &Lab, route: Route, per_second: u32) -> Result<Self, LabError> {
        let probe = Probe {
            patience: route.patience,
            ..Probe::new(Protocol::Tcp, Some(route.source()), route.to)
        };
        Self::start(lab, route, 1, move |running, results| {
            every(Duration::from_secs(1) / per_second.max(1), running, || {
                let results = results.clone();
                thread::spawn(move || attempt(&results, || probe.run_past_lost_syns()));
                true
            });
        })
    }

    /// `senders` UDP sockets, each of which sends `per_second` datagrams a second and expects an answer to each.
    pub fn datagrams(
        lab: &Lab,
        route: Route,
        senders: usize,
        per_second: u32,
    ) -> Result<Self, LabError> {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self::datagrams_every(lab, route, senders, interval)
    }

    /// The same, each sender at this pace.
    pub fn datagrams_every(
        lab: &Lab,
        route: Route,
        senders: usize,
        interval: Duration,
    ) -> Result<Self, LabError> {
        Self::start(lab, route, senders, move |running, results| {
            let socket = match steady_socket(route) {
                Ok(socket) => socket,
                Err(error) => return attempt(results, || Outcome::of_error(&error)),
            };
            every(interval, running, || {
                attempt(results, || {
                    ask(&socket).unwrap_or_else(|error| Outcome::of_error(&error))
                });
                true
            });
        })
    }

    /// `connections` TCP connections that stay, each of which sends a byte `per_second` times a second and expects it back.
    /// A connection that failed once sends no more.
    pub fn long_lived(
        lab: &Lab,
        route: Route,
        connections: usize,
        per_second: u32,
    ) -> Result<Self, LabError> {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self::long_lived_every(lab, route, connections, interval)
    }

    /// The same, each connection at this pace.
    pub fn long_lived_every(
        lab: &Lab,
        route: Route,
        connections: usize,
        interval: Duration,
    ) -> Result<Self, LabError> {
        Self::start(lab, route, connections, move |running, results| {
            let mut connection = None;
            attempt(results, || match LongLived::open(route) {
                Ok(opened) => {
                    let greeting = opened.greeting.clone();
                    connection = Some(opened);
                    greeting
                }
                Err(error) => Outcome::of_error(&error),
            });
            let Some(mut connection) = connection else {
                return;
            };
            every(interval, running, || {
                let mut alive = true;
                attempt(results, || {
                    let exchanged = connection.exchange();
                    alive = exchanged.is_ok();
                    exchanged.unwrap_or_else(|error| Outcome::of_error(&error))
                });
                alive
            });
        })
    }

    fn start(
        lab: &Lab,
        route: Route,
        threads: usize,
        work: impl Fn(&AtomicBool, &Sender<Attempt>) + Clone + Send + 'static,
    ) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let lost_syns = LostSyns::of(lab.namespace(&route.from))?;
        let (results, attempts) = channel();
        let threads = (0..threads)
            .map(|_| {
                let (stop, results, work) = (stop.clone(), results.clone(), work.clone());
                lab.namespace(&route.from)
                    .spawn(move || work(&stop, &results))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            stop,
            started: Instant::now(),
            attempts,
            seen: Vec::new(),
            threads,
            lost_syns,
        })
    }

    /// Waits until the attempts that have ended are enough, or a minute has passed: on a busy machine they come late.
    pub fn wait_until(&mut self, is_enough: impl Fn(&[Attempt]) -> bool) {
        let end = Instant::now() + stretched(PATIENCE);
        while !is_enough(&self.seen) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(attempt) = self.attempts.recv_timeout(left) else {
                return;
            };
            self.seen.push(attempt);
        }
    }

    /// Stops sending, waits for the last answers and tells what happened.
    pub fn stop(mut self) -> Result<LoadReport, LabError> {
        self.end();
        // It ends when the last attempt in flight has let go of its end of the channel.
        let mut attempts = std::mem::take(&mut self.seen);
        attempts.extend(self.attempts.iter());
        let lost_syns = self.lost_syns.count()?;
        let waited = attempts
            .iter()
            .any(|attempt| attempt.took >= BEFORE_RESENDING);
        Ok(LoadReport {
            started: self.started,
            attempts,
            syn_retransmits: if waited { lost_syns } else { 0 },
        })
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What a thread did is in the channel, whether or not it panicked afterwards.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Route {
    fn source(&self) -> std::net::IpAddr {
        self.from.ip(Family::of(self.to.ip()))
    }
}

impl LoadReport {
    /// Attempts that no server answered, and how long after the start of the load each was made.
    pub fn failures(&self) -> Vec<(Duration, &Outcome)> {
        let failed = self
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome.endpoint().is_none());
        failed
            .map(|attempt| {
                (
                    attempt.at.saturating_duration_since(self.started),
                    &attempt.outcome,
                )
            })
            .collect()
    }

    /// Answers by server.
    pub fn answers(&self) -> BTreeMap<&str, usize> {
        let mut answers = BTreeMap::new();
        for endpoint in self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.outcome.endpoint())
        {
            *answers.entry(endpoint).or_default() += 1;
        }
        answers
    }

    /// The longest that an answer took.
    pub fn slowest(&self) -> Duration {
        let answered = self
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome.endpoint().is_some());
        answered
            .map(|attempt| attempt.took)
            .max()
            .unwrap_or_default()
    }
}

/// Calls `work` at a steady pace until it returns false or the load stops. Late calls are not made up for in a burst.
fn every(interval: Duration, stop: &AtomicBool, mut work: impl FnMut() -> bool) {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) && work() {
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn attempt(results: &Sender<Attempt>, work: impl FnOnce() -> Outcome) {
    let at = Instant::now();
    let outcome = work();
    // Nobody listens any more when the load was dropped without asking for its report.
    let _ = results.send(Attempt {
        at,
        took: at.elapsed(),
        outcome,
    });
}

fn steady_socket(route: Route) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(route.source(), 0))?;
    socket.connect(route.to)?;
    socket.set_read_timeout(Some(route.patience))?;
    Ok(socket)
}

fn ask(socket: &UdpSocket) -> io::Result<Outcome> {
    let mut buffer = [0; 512];
    // An answer that came too late is not the answer to the next datagram.
    socket.set_nonblocking(true)?;
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false)?;
    socket.send(b"who\n")?;
    let read = socket.recv(&mut buffer)?;
    Ok(Outcome::of_greeting(&String::from_utf8_lossy(
        &buffer[..read],
    )))
}

struct LongLived {
    stream: TcpStream,
    greeting: Outcome,
}

impl LongLived {
    fn open(route: Route) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(route.to),
            socket2::Type::STREAM,
            None,
        )?;
        socket.bind(&SocketAddr::new(route.source(), 0).into())?;
        socket.connect_timeout(&route.to.into(), route.patience)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(route.patience))?;
        stream.set_nodelay(true)?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(Self {
            stream,
            greeting: Outcome::of_greeting(&line),
        })
    }

    fn exchange(&mut self) -> io::Result<Outcome> {
        self.stream.write_all(b"!")?;
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(self.greeting.clone())
    }
}
