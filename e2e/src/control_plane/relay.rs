//! The way from a namespace to the API server, which listens on the loopback address of another one; it can be cut, stalled or garbled.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ControlPlane;
use crate::lab::{LabError, Namespace};

/// Between two looks for a connection, or whether the state has changed.
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// What is said instead of TLS.
const RUBBISH: &[u8] = b"\x15\x03\x01 this is no API server\r\n\r\n{]";

/// How connections fare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// They reach the API server.
    #[default]
    Open,
    /// They are reset, old ones too.
    Cut,
    /// They are taken, and nothing is said on them; old ones fall silent too.
    Stalled,
    /// They are answered with rubbish; old ones are reset.
    Garbled,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    bytes_from_server: AtomicU64,
}

impl Shared {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. A kubeconfig of the control plane is right inside the namespace too, since address and port are the same. Ends with the value.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens in the namespace.
    pub fn start(control_plane: &ControlPlane, namespace: &Namespace) -> Result<Self, LabError> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, control_plane.port()));
        let failed = |source| LabError::Io {
            what: format!("relay {server}"),
            source,
        };
        let listener = namespace.run(move || TcpListener::bind(server))?;
        let listener = listener.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let shared = Arc::new(Shared::default());
        // A thread of the caller's namespace: what it connects to is there.
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, server, &shared)
            })
            .map_err(failed)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Resets connections, old and new.
    pub fn cut(&self) {
        self.set(State::Cut);
    }

    /// Takes connections and says nothing on them; old ones fall silent.
    pub fn stall(&self) {
        self.set(State::Stalled);
    }

    /// Answers with rubbish.
    pub fn garble(&self) {
        self.set(State::Garbled);
    }

    /// Lets everything through again. What was kept back is lost with its connection.
    pub fn mend(&self) {
        self.set(State::Open);
    }

    /// Bytes that came from the API server, TLS included.
    pub fn bytes_from_server(&self) -> u64 {
        self.shared.bytes_from_server.load(Ordering::Relaxed)
    }

    fn set(&self, state: State) {
        let mut held = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *held = state;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked relays nothing any more, as it should.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOKS_EVERY);
            continue;
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // Whoever is at one of the two ends sees what went wrong.
            let _ = serve(client, server, &shared);
        });
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nonblocking(false)?;
    match shared.state() {
        State::Open => {}
        State::Cut => return reset(&client),
        State::Stalled => return hold(&client, shared),
        State::Garbled => return client.write_all(RUBBISH),
    }
    let upstream = TcpStream::connect(server)?;
    let (requests, answers) = (client.try_clone()?, upstream.try_clone()?);
    let back = {
        let (shared, upstream) = (Arc::clone(shared), upstream.try_clone()?);
        std::thread::spawn(move || copy(requests, upstream, &shared, None))
    };
    let counted = &shared.bytes_from_server;
    let copied = copy(answers, client.try_clone()?, shared, Some(counted));
    if shared.state() != State::Open {
        reset(&client)?;
    }
    // The other direction ends with the sockets.
    let _ = (
        client.shutdown(Shutdown::Both),
        upstream.shutdown(Shutdown::Both),
    );
    let _ = back.join();
    copied
}

/// Until one side ends, or the way is no longer open.
fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Shared,
    counted: Option<&AtomicU64>,
) -> io::Result<()> {
    from.set_read_timeout(Some(LOOKS_EVERY))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut was_stalled = false;
    while !shared.ended.load(Ordering::Relaxed) {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if is_timeout(&error) => 0,
            Err(error) => return Err(error),
        };
        match shared.state() {
            State::Stalled => was_stalled = true,
            // What was kept back is missing in the stream from now on.
            State::Open if !was_stalled => {
                to.write_all(&buffer[..read])?;
                counted.map(|bytes| bytes.fetch_add(read as u64, Ordering::Relaxed));
            }
            State::Open | State::Cut | State::Garbled => return Ok(()),
        }
    }
    Ok(())
}

/// Keeps the connection, silent, as long as the way is stalled.
fn hold(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    while shared.state() == State::Stalled && !shared.ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOKS_EVERY);
    }
    reset(client)
}

fn reset(client: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(client).set_linger(Some(Duration::ZERO))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
