//! The way from a namespace to the API server, which listens in the tests' own namespace alone, and the faults of that way.
//!
//! ```no_run
//! use sluice_e2e::{control_plane::{ControlPlane, Options, Relay}, lab::Lab};
//!
//! let control_plane = ControlPlane::start(&Options::default())?;
//! let lab = Lab::up()?;
//! let relay = Relay::start(&control_plane, lab.node())?;
//! // Whoever runs on the node reaches the API server with the kubeconfigs of `control_plane`.
//! relay.cut();
//! relay.mend();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A socket belongs to the namespace of the thread that made it: the listener is made on the node, and all that is done with
//! it, connections to the API server too, is done by threads of the namespace that called.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ControlPlane, ControlPlaneError, error::failed};
use crate::lab::Namespace;

const BUFFER: usize = 16 * 1024;
/// How often a thread that waits looks whether it should end.
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// What a garbled way answers: neither TLS nor HTTP.
const RUBBISH: &[u8] = b"\x00\xff\x13\x37 this is no API server \xfe\r\n\r\n";

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Cut,
    Stalled,
    Garbled,
    Slow(Duration),
}

/// Copies bytes between a namespace's 127.0.0.1 and the API server, on the same port, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on 127.0.0.1 of a namespace, on the port that the API server has: kubeconfigs of the control plane are good
    /// there as they are. A [`ControlPlaneError::Io`] where that port is taken.
    pub fn start(
        control_plane: &ControlPlane,
        namespace: &Namespace,
    ) -> Result<Self, ControlPlaneError> {
        Self::to_port(control_plane.port, namespace)
    }

    fn to_port(port: u16, namespace: &Namespace) -> Result<Self, ControlPlaneError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = namespace
            .run(move || TcpListener::bind(address))
            .map_err(io::Error::other)
            .and_then(|bound| bound)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(failed(format!(
                "listen on {address} of {}",
                namespace.name()
            )))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        Ok(Self {
            shared,
            address,
            listener: Some(std::thread::spawn(move || own.listen(&listener, address))),
        })
    }

    /// Where it listens, in the namespace.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and refuses new ones, as when the API server is gone.
    pub fn cut(&self) {
        self.shared.set(Way::Cut);
    }

    /// Makes the way good again. Connections that a fault spoiled do not come back.
    pub fn mend(&self) {
        self.shared.set(Way::Open);
    }

    /// Accepts, and passes nothing on in either direction; what is open stays open and is silent, as when a firewall drops
    /// its packets. Mended, such connections go on.
    pub fn stall(&self) {
        self.shared.set(Way::Stalled);
    }

    /// Ends all connections and answers new ones with what is neither TLS nor HTTP, as a wrong server on this port would.
    pub fn garble(&self) {
        self.shared.set(Way::Garbled);
    }

    /// Holds every piece of an answer (at most 16 KiB) back for so long.
    pub fn slow(&self, delay: Duration) {
        self.shared.set(Way::Slow(delay));
    }

    /// Bytes that came from the API server and were passed on, over all connections.
    pub fn bytes_from_server(&self) -> u64 {
        self.shared.from_server.load(Ordering::Relaxed)
    }

    /// Bytes that went to the API server, over all connections.
    pub fn bytes_to_server(&self) -> u64 {
        self.shared.to_server.load(Ordering::Relaxed)
    }

    /// Connections that were accepted, refused ones not counted.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.set(Way::Cut);
        if let Some(listener) = self.listener.take() {
            // It panicked only where a test has failed already.
            let _ = listener.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
    from_server: AtomicU64,
    to_server: AtomicU64,
    accepted: AtomicU64,
}

#[derive(Debug)]
struct State {
    way: Way,
    /// Both ends of every connection, to end them.
    open: Vec<TcpStream>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            way: Way::Open,
            open: Vec::new(),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, way: Way) {
        let mut state = self.state();
        state.way = way;
        if matches!(way, Way::Cut | Way::Garbled) {
            for stream in state.open.drain(..) {
                // One that has ended by itself cannot be ended again.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn listen(self: Arc<Self>, listener: &TcpListener, server: SocketAddr) {
        while !self.ended.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((client, _)) => self.take(client, server),
                Err(_) => std::thread::sleep(LOOKS_EVERY),
            }
        }
    }

    /// A listening socket cannot refuse by itself: who comes while the way is cut is reset at once.
    fn take(self: &Arc<Self>, mut client: TcpStream, server: SocketAddr) {
        let way = self.state().way;
        if way == Way::Cut {
            // Closing resets only what has unread bytes or is told to.
            let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if client.set_nonblocking(false).is_err() {
            return;
        }
        if way == Way::Garbled {
            // Whoever is gone does not hear it.
            let _ = client.write_all(RUBBISH);
            return;
        }
        // Where the API server is down the client sees its connection end.
        let Ok(upstream) = TcpStream::connect(server) else {
            return;
        };
        for stream in [&client, &upstream] {
            // Only slower without.
            let _ = stream.set_nodelay(true);
        }
        if let Err(error) = self.copy_both_ways(&client, &upstream) {
            eprintln!("relay: cannot pass a connection on: {error}");
        }
    }

    fn copy_both_ways(
        self: &Arc<Self>,
        client: &TcpStream,
        upstream: &TcpStream,
    ) -> io::Result<()> {
        let ends = [client.try_clone()?, upstream.try_clone()?];
        {
            let mut state = self.state();
            if matches!(state.way, Way::Cut | Way::Garbled) {
                return Ok(());
            }
            // Those that ended are let go of.
            state.open.retain(|stream| stream.peer_addr().is_ok());
            state.open.extend(ends);
        }
        for (from, to, answers) in [(client, upstream, false), (upstream, client, true)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let own = Arc::clone(self);
            std::thread::spawn(move || own.copy(from, to, answers));
        }
        Ok(())
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; BUFFER];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            self.wait_while_stalled();
            let way = self.state().way;
            if let (Way::Slow(delay), true) = (way, answers) {
                std::thread::sleep(delay);
            }
            // Before they go, so that whoever got them finds them counted.
            let count = if answers {
                &self.from_server
            } else {
                &self.to_server
            };
            count.fetch_add(read as u64, Ordering::Relaxed);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        // A half that ended by itself has nothing more to say, and the others have.
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_while_stalled(&self) {
        let mut state = self.state();
        while state.way == Way::Stalled {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Sends back what it gets, on a port of this namespace.
    fn echo_server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    let _ = io::copy(&mut reader, &mut stream);
                });
            }
        });
        port
    }

    fn connect(namespace: &Namespace, relay: &Relay) -> TcpStream {
        let address = relay.address();
        let stream = namespace
            .run(move || TcpStream::connect(address))
            .unwrap()
            .unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        stream.write_all(b"hello")?;
        let mut answer = vec![0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_relay_passes_on_is_cut_is_mended_is_silent_is_garbled_and_is_slow() {
        let namespace = Namespace::new("relayed").unwrap();
        let relay = Relay::to_port(echo_server(), &namespace).unwrap();
        let mut stream = connect(&namespace, &relay);
        assert_eq!(ask(&mut stream).unwrap(), b"hello");
        assert_eq!(relay.bytes_from_server(), 5);
        assert_eq!(relay.bytes_to_server(), 5);

        relay.cut();
        assert!(ask(&mut stream).is_err(), "an open connection ends");
        assert!(
            ask(&mut connect(&namespace, &relay)).is_err(),
            "a new one is refused"
        );

        relay.mend();
        let mut stream = connect(&namespace, &relay);
        assert_eq!(ask(&mut stream).unwrap(), b"hello");

        relay.stall();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let silent = ask(&mut stream).unwrap_err().kind();
        assert_eq!(silent, io::ErrorKind::WouldBlock);
        relay.mend();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut late = [0; 5];
        stream.read_exact(&mut late).unwrap();
        assert_eq!(
            &late, b"hello",
            "what was held up comes when the way is good again"
        );

        relay.garble();
        let mut rubbish = Vec::new();
        connect(&namespace, &relay)
            .read_to_end(&mut rubbish)
            .unwrap();
        assert_eq!(rubbish, RUBBISH);

        relay.slow(Duration::from_millis(300));
        let mut stream = connect(&namespace, &relay);
        let begun = std::time::Instant::now();
        assert_eq!(ask(&mut stream).unwrap(), b"hello");
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
}
