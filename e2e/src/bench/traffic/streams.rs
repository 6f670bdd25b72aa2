//! Bandwidth of one stream, and requests by short connections and by one that is kept; with and without masquerade.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sluice_service_plan::model::LocalDetector;

use super::{Node, connect, frontend};
use crate::bench::plane::Plane;
use crate::bench::{BenchError, Size, cluster};
use crate::lab::places::A1;

/// How long each is measured; the best of the rounds counts, as everything else on the machine only takes away.
const DURATION: Duration = Duration::from_secs(1);
const ROUNDS: usize = 3;
/// Where a pod takes streams.
const SINK_PORT: u16 = 9000;
const BLOCK: usize = 64 * 1024;

/// Requests a second.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// Each by a connection of its own.
    pub short: f64,
    /// All by one connection.
    pub kept: f64,
}

/// What came out for one data plane, outside client to a pod of the node.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Data plane.
    pub plane: Plane,
    /// The many.
    pub size: Size,
    /// To the pod's address, bytes a second.
    pub direct: f64,
    /// To the first service.
    pub first: f64,
    /// To the last service.
    pub last: f64,
    /// At the last service, masqueraded.
    pub masqueraded: Requests,
    /// At the last service, clients' addresses kept.
    pub plain: Requests,
}

/// Measures a node.
pub fn measure(node: &mut Node) -> Result<Measured, BenchError> {
    let masqueraded = node.requests()?;
    let mut settings = node.plane.settings();
    settings.detect_local = LocalDetector::None;
    node.catalog.set_settings(settings);
    node.apply()?;
    let plain = node.requests()?;
    let last = node.last();
    for index in [0, last] {
        let mut slice = cluster::slice(index, vec![(A1.v4.into(), true)]);
        slice
            .ports
            .iter_mut()
            .for_each(|port| port.port = SINK_PORT);
        node.catalog.set_slice(slice);
    }
    node.apply()?;
    let sink = SocketAddr::new(A1.v4.into(), SINK_PORT);
    Ok(Measured {
        plane: node.plane,
        size: node.size,
        direct: node.bandwidth(sink)?,
        first: node.bandwidth(frontend(0))?,
        last: node.bandwidth(frontend(last))?,
        masqueraded,
        plain,
    })
}

impl Node {
    fn requests(&self) -> Result<Requests, BenchError> {
        let to = frontend(self.last());
        let short = best(|| self.client(move || short_connections(to)))?;
        let kept = best(|| self.client(move || kept_connection(to)))?;
        Ok(Requests { short, kept })
    }

    fn bandwidth(&self, to: SocketAddr) -> Result<f64, BenchError> {
        best(|| {
            let pod = self.lab.namespace(&A1);
            let listener = pod
                .run(|| TcpListener::bind((A1.v4, SINK_PORT)))?
                .map_err(BenchError::io("listen in a pod"))?;
            pod.spawn(move || swallow(&listener))?;
            self.client(move || stream(to))
        })
    }
}

fn best(mut measure: impl FnMut() -> Result<f64, BenchError>) -> Result<f64, BenchError> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        best = best.max(measure()?);
    }
    Ok(best)
}

/// Takes one stream to its end, then ends it too.
fn swallow(listener: &TcpListener) {
    let mut block = vec![0; BLOCK];
    if let Ok((mut stream, _)) = listener.accept() {
        while stream.read(&mut block).is_ok_and(|read| read > 0) {}
    }
}

/// Sends one stream; bytes a second, until the other side has all.
fn stream(to: SocketAddr) -> Result<f64, BenchError> {
    let (mut connection, _) = connect(to)?;
    let block = vec![0; BLOCK];
    let mut bytes = 0;
    let start = Instant::now();
    let mut send = || -> std::io::Result<()> {
        while start.elapsed() < DURATION {
            bytes += connection.write(&block)?;
        }
        connection.shutdown(Shutdown::Write)?;
        connection.read(&mut [0]).map(drop)
    };
    send().map_err(BenchError::io(format!("send a stream to {to}")))?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

fn short_connections(to: SocketAddr) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut requests = 0_u32;
    while start.elapsed() < DURATION {
        let (mut connection, _) = connect(to)?;
        ask(&mut connection, to)?;
        requests += 1;
    }
    Ok(f64::from(requests) / start.elapsed().as_secs_f64())
}

fn kept_connection(to: SocketAddr) -> Result<f64, BenchError> {
    let (mut connection, _) = connect(to)?;
    ask(&mut connection, to)?;
    let start = Instant::now();
    let mut requests = 0_u32;
    while start.elapsed() < DURATION {
        connection
            .write_all(b"?")
            .map_err(BenchError::io(format!("ask {to}")))?;
        ask(&mut connection, to)?;
        requests += 1;
    }
    Ok(f64::from(requests) / start.elapsed().as_secs_f64())
}

/// Waits for what the server says: its name at first, then what it was sent.
fn ask(connection: &mut TcpStream, to: SocketAddr) -> Result<(), BenchError> {
    let read = connection.read(&mut [0; 256]);
    match read.map_err(BenchError::io(format!("hear from {to}")))? {
        0 => Err(BenchError::NotSo(format!("{to} ended the connection"))),
        _ => Ok(()),
    }
}
