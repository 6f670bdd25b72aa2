//! What pods of the kind suite run: a server that tells its name, and a client that tells what became of its probes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use sluice_e2e::lab::pace::{rate, stretched};
use sluice_e2e::lab::{Listen, Outcome, Probe, serve_here};
use sluice_service_plan::model::Protocol;

/// How long a load lets a server take on a connection that is there: only one that is lost has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Serves, probes and loads.
#[derive(Debug, Parser)]
enum Command {
    /// Tells its name to TCP, UDP and SCTP clients
    Serve {
        /// The name
        #[arg(long, env = "POD_NAME")]
        name: String,
        /// The ports
        #[arg(long, value_delimiter = ',', default_value = "8080")]
        ports: Vec<u16>,
    },
    /// Prints one line a probe
    Probe {
        /// tcp, udp or sctp
        protocol: String,
        /// ADDRESS:PORT
        destination: SocketAddr,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// How long an answer may take, in milliseconds
        #[arg(long, default_value_t = 3000)]
        patience: u64,
    },
    /// Prints the addresses of a name, one a line
    Resolve {
        /// The name
        name: String,
    },
    /// Opens and closes a connection, for servers that say nothing on their own
    Connect {
        /// ADDRESS:PORT
        destination: SocketAddr,
    },
    /// Prints the status of an HTTP answer
    HttpStatus {
        /// ADDRESS:PORT
        server: SocketAddr,
        /// As /healthz
        path: String,
    },
    /// New connections at a steady pace, and some that stay, until standard input ends; prints a line for each outcome
    Load {
        /// ADDRESS:PORT
        destination: SocketAddr,
        /// New connections a second
        #[arg(long, default_value_t = 20)]
        per_second: u32,
        /// Connections that stay and exchange a byte ten times a second
        #[arg(long, default_value_t = 4)]
        held: u32,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { name, ports } => serve_here(&[Listen {
            name,
            addresses: vec![IpAddr::from([0; 4]), IpAddr::from([0; 16])],
            ports,
            protocols: vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
        }])?,
        Command::Probe {
            protocol,
            destination,
            count,
            patience,
        } => {
            let protocol = match protocol.as_str() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                other => anyhow::bail!("{other}: the protocol is tcp, udp or sctp"),
            };
            let patience = stretched(Duration::from_millis(patience));
            for _ in 0..count {
                let probe = Probe::new(protocol, None, destination);
                println!("{}", Probe { patience, ..probe }.run().line());
            }
        }
        Command::Resolve { name } => {
            for address in (name.as_str(), 0).to_socket_addrs()? {
                println!("{}", address.ip());
            }
        }
        Command::Connect { destination } => {
            TcpStream::connect_timeout(&destination, stretched(Duration::from_secs(3)))?;
        }
        Command::HttpStatus { server, path } => println!("{}", http_status(server, &path)?),
        Command::Load {
            destination,
            per_second,
            held,
        } => load(destination, per_second, held)?,
    }
    Ok(())
}

fn http_status(server: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let patience = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_whitespace().nth(1);
    let status = status.and_then(|status| status.parse().ok());
    status.with_context(|| format!("{server} speaks no HTTP: {answer:?}"))
}

/// Runs until standard input ends. Each line: milliseconds since the start, and the outcome.
fn load(destination: SocketAddr, per_second: u32, held: u32) -> io::Result<()> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let started = Instant::now();
    let (results, attempts) = channel::<(Instant, Outcome)>();
    let mut threads = vec![thread::spawn({
        let results = results.clone();
        move || new_connections(&STOP, destination, per_second, &results)
    })];
    for _ in 0..held {
        let results = results.clone();
        threads.push(thread::spawn(move || hold(&STOP, destination, &results)));
    }
    drop(results);
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        STOP.store(true, Ordering::Relaxed);
    });
    let mut out = io::stdout().lock();
    for (at, outcome) in attempts {
        let at = at.saturating_duration_since(started).as_millis();
        writeln!(out, "{at} {}", outcome.line())?;
    }
    Ok(())
}

/// Whether or not earlier ones were answered.
fn new_connections(
    stop: &AtomicBool,
    to: SocketAddr,
    per_second: u32,
    results: &Sender<(Instant, Outcome)>,
) {
    let probe = Probe {
        patience: stretched(ANSWERED_WITHIN),
        ..Probe::new(Protocol::Tcp, None, to)
    };
    while !stop.load(Ordering::Relaxed) {
        let results = results.clone();
        thread::spawn(move || {
            let at = Instant::now();
            let outcome = probe.run();
            // Nobody listens after the end.
            let _ = results.send((at, outcome));
        });
        thread::sleep(Duration::from_secs(1) / rate(per_second));
    }
}

/// One connection; it tells of its first failure, and of its end.
fn hold(stop: &AtomicBool, to: SocketAddr, results: &Sender<(Instant, Outcome)>) {
    let at = Instant::now();
    let outcome = exchange_until(stop, to)
        .unwrap_or_else(|error| Outcome::Unintelligible(format!("a held connection: {error}")));
    let _ = results.send((at, outcome));
}

fn exchange_until(stop: &AtomicBool, to: SocketAddr) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect_timeout(&to, stretched(Duration::from_secs(3)))?;
    stream.set_read_timeout(Some(stretched(ANSWERED_WITHIN)))?;
    stream.set_nodelay(true)?;
    let mut greeting = Vec::new();
    let mut byte = [0];
    while byte[0] != b'\n' {
        stream.read_exact(&mut byte)?;
        greeting.push(byte[0]);
    }
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"!")?;
        stream.read_exact(&mut byte)?;
        thread::sleep(stretched(Duration::from_millis(100)));
    }
    Ok(Outcome::of_line(String::from_utf8_lossy(&greeting).trim()))
}
