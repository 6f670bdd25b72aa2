//! One packet, or one connection attempt, and what became of it.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use sluice_service_plan::model::Protocol;
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};

use super::sctp::{self, Chunk, Packet};

/// A lost SYN is sent again after 1 s; a connection that took longer would hide the loss.
pub(super) const BEFORE_RESENDING: Duration = Duration::from_millis(900);

/// One attempt to reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Protocol.
    pub protocol: Protocol,
    /// The client's address, one of its namespace. Absent: what its routes say.
    pub source: Option<IpAddr>,
    /// The client's port, for probes that are to be one flow. Absent: one that no probe had lately.
    pub source_port: Option<u16>,
    /// Where to.
    pub destination: SocketAddr,
    /// How long silence lasts until it counts as [`Outcome::TimedOut`].
    pub patience: Duration,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A server answered.
    Reached {
        /// The name it told.
        endpoint: String,
        /// The port it was reached on.
        port: u16,
        /// The client's address as the server saw it.
        source: SocketAddr,
    },
    /// "Connection refused": a TCP reset, or an ICMP error that says that the port, or the protocol, is unreachable.
    Refused,
    /// Nothing came back.
    TimedOut,
    /// Another error of the client's kernel.
    Failed(Errno),
    /// An answer that no server of the lab gives.
    Unintelligible(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached {
                endpoint,
                port,
                source,
            } => {
                write!(f, "reached {endpoint}:{port} as {}", source.ip())
            }
            Self::Refused => f.write_str("refused"),
            Self::TimedOut => f.write_str("no answer"),
            Self::Failed(errno) => write!(f, "failed: {errno}"),
            Self::Unintelligible(text) => write!(f, "answered {text:?}"),
        }
    }
}

impl Probe {
    /// A probe that waits for an answer as long as a busy machine may need.
    pub const fn new(protocol: Protocol, source: Option<IpAddr>, destination: SocketAddr) -> Self {
        let patience = Duration::from_secs(3);
        Self {
            protocol,
            source,
            source_port: None,
            destination,
            patience,
        }
    }

    /// The same, where silence is expected: on a busy machine too, an answer is there within 200 ms nearly always.
    #[must_use]
    pub const fn expecting_silence(self) -> Self {
        let patience = Duration::from_millis(200);
        Self { patience, ..self }
    }

    /// Runs it in the calling thread's namespace.
    pub fn run(&self) -> Outcome {
        self.run_connecting_for(self.patience.min(BEFORE_RESENDING))
    }

    /// The same, but a connection may take as long as anything: for those who count the SYNs that are sent again.
    pub(super) fn run_past_lost_syns(&self) -> Outcome {
        self.run_connecting_for(self.patience)
    }

    fn run_connecting_for(&self, time: Duration) -> Outcome {
        let answer = match self.protocol {
            Protocol::Tcp => self.tcp(time),
            Protocol::Udp => self.udp(),
            Protocol::Sctp => self.sctp(),
        };
        match answer {
            Ok(line) => Outcome::of_greeting(&line),
            Err(error) => Outcome::of_error(&error),
        }
    }

    fn tcp(&self, to_connect: Duration) -> io::Result<String> {
        let socket = self.socket(Type::STREAM, None)?;
        self.bind(&socket)?;
        match socket.connect_timeout(&self.destination.into(), to_connect) {
            // It looks at the clock first: this thread was stopped, and the connection is there.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && socket.peer_addr().is_ok() => {
            }
            connected => connected?,
        }
        // Ends by a reset, so that a busy prober does not run out of ports in TIME_WAIT.
        socket.set_linger(Some(Duration::ZERO))?;
        let connection = TcpStream::from(socket);
        connection.set_read_timeout(Some(self.patience))?;
        let mut line = String::new();
        BufReader::new(connection).read_line(&mut line)?;
        Ok(line)
    }

    fn udp(&self) -> io::Result<String> {
        let socket = self.socket(Type::DGRAM, None)?;
        self.bind(&socket)?;
        let (socket, _) = self.connected(socket)?;
        pass_over_local_filter(socket.send(b"who\n"))?;
        let mut buffer = [0; 512];
        let read = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    fn sctp(&self) -> io::Result<String> {
        let socket = self.socket(Type::RAW, Some(IpProtocol::from(sctp::IP_PROTOCOL)))?;
        socket.bind(&SocketAddr::new(self.bind_address(), 0).into())?;
        let (socket, deadline) = self.connected(socket)?;
        let source_port = self.source_port.unwrap_or_else(next_source_port);
        let init = Packet {
            source_port,
            destination_port: self.destination.port(),
            initiate_tag: u32::from(source_port) + 1,
            chunk: Chunk::Init,
        };
        pass_over_local_filter(socket.send(&init.encode()))?;
        let mut buffer = [0; 2048];
        loop {
            let read = socket.recv(&mut buffer)?;
            match Packet::decode(sctp::payload(&buffer[..read], self.destination.is_ipv4())) {
                Some(Packet {
                    chunk: Chunk::InitAck { peer_tag, cookie },
                    destination_port,
                    ..
                }) if destination_port == source_port && peer_tag == init.initiate_tag => {
                    return Ok(String::from_utf8_lossy(&cookie).into_owned());
                }
                // A raw socket also sees what answers its neighbours' probes.
                _ if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                _ => {}
            }
        }
    }

    fn socket(&self, kind: Type, protocol: Option<IpProtocol>) -> io::Result<Socket> {
        Socket::new(Domain::for_address(self.destination), kind, protocol)
    }

    fn bind_address(&self) -> IpAddr {
        self.source.unwrap_or(match self.destination {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        })
    }

    /// Binds to the source port that is asked for, else to one that no probe of this process had lately: a port used again
    /// could meet the connection tracking entry of an earlier probe.
    fn bind(&self, socket: &Socket) -> io::Result<()> {
        if let Some(port) = self.source_port {
            return socket.bind(&SocketAddr::new(self.bind_address(), port).into());
        }
        loop {
            let address = SocketAddr::new(self.bind_address(), next_source_port());
            match socket.bind(&address.into()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
    }

    /// Only a connected socket hears of ICMP errors.
    fn connected(&self, socket: Socket) -> io::Result<(UdpSocket, Instant)> {
        let port = if self.protocol == Protocol::Sctp {
            0
        } else {
            self.destination.port()
        };
        socket.connect(&SocketAddr::new(self.destination.ip(), port).into())?;
        socket.set_read_timeout(Some(self.patience))?;
        Ok((socket.into(), Instant::now() + self.patience))
    }
}

impl Outcome {
    /// As a line that [`of_line`](Self::of_line) reads, for a prober in another process.
    pub fn line(&self) -> String {
        match self {
            Self::Reached {
                endpoint,
                port,
                source,
            } => format!("{endpoint} {port} {source}"),
            Self::Refused => "!refused".to_owned(),
            Self::TimedOut => "!silent".to_owned(),
            Self::Failed(errno) => format!("!failed {}", *errno as i32),
            Self::Unintelligible(text) => format!("!unintelligible {text}"),
        }
    }

    /// The outcome that a line tells.
    pub fn of_line(line: &str) -> Self {
        let Some(word) = line.strip_prefix('!') else {
            return Self::of_greeting(line);
        };
        match word.split_once(' ').unwrap_or((word, "")) {
            ("refused", _) => Self::Refused,
            ("silent", _) => Self::TimedOut,
            ("failed", number) => Self::Failed(Errno::from_raw(number.parse().unwrap_or_default())),
            (_, text) => Self::Unintelligible(text.to_owned()),
        }
    }

    pub(super) fn of_greeting(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut reached = || {
            Some(Self::Reached {
                endpoint: words.next()?.to_owned(),
                port: words.next()?.parse().ok()?,
                source: words.next()?.parse().ok()?,
            })
        };
        reached().unwrap_or_else(|| Self::Unintelligible(line.to_owned()))
    }

    pub(super) fn of_error(error: &io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ) {
            return Self::TimedOut;
        }
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::ECONNREFUSED | Errno::ENOPROTOOPT | Errno::EPROTO => Self::Refused,
            errno => Self::Failed(errno),
        }
    }

    /// The server that answered.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Reached { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }
}

/// The distinct servers that answered.
pub fn endpoints(outcomes: &[Outcome]) -> BTreeSet<&str> {
    outcomes.iter().filter_map(Outcome::endpoint).collect()
}

/// A filter of the client's own host answers `send` with `EPERM`, for REJECT and DROP alike; what it means comes, or does
/// not come, by ICMP.
fn pass_over_local_filter(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Walks through 33000 to 60999: above the node ports, below nothing that the kernel picks itself in a hurry. Each process begins somewhere else:
/// connection tracking may remember of a port what became of the last packet from it.
fn next_source_port() -> u16 {
    const FIRST: u16 = 33_000;
    const COUNT: u16 = 28_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let somewhere = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        AtomicU16::new(u16::try_from(somewhere).unwrap_or(0))
    });
    let next = |n: u16| Some((n + 1) % COUNT);
    let (Ok(n) | Err(n)) = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    FIRST + n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_in_a_line() {
        let outcomes = [
            Outcome::of_greeting("a1 8080 192.0.2.1:1234"),
            Outcome::of_greeting("a1 8080 [2001:db8::1]:1234"),
            Outcome::Refused,
            Outcome::TimedOut,
            Outcome::Failed(Errno::ENETUNREACH),
            Outcome::Unintelligible("who are you".to_owned()),
        ];
        for outcome in outcomes {
            assert_eq!(Outcome::of_line(&outcome.line()), outcome);
        }
    }
}
