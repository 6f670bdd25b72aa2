//! The servers of pods: they tell every client who answered and under which address the client was seen.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sluice_service_plan::model::Protocol;
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};

use super::sctp::{self, Chunk, Packet};
use super::{LabError, Namespace};

/// Longest datagram a server reads.
const DATAGRAM: usize = 2048;

/// A thread that serves some addresses and ports until it is dropped.
///
/// * TCP: writes one line, `NAME PORT CLIENT`, at once (its name, the port it was reached on, the client's socket address), then sends back what it gets until the client ends.
/// * UDP: answers each datagram with that line.
/// * SCTP: answers INIT with an INIT ACK whose state cookie is that line; other ports of the address stay silent.
#[derive(Debug)]
pub struct Server {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// What a server listens on.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The name it tells.
    pub name: String,
    /// Addresses that the namespace holds.
    pub addresses: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Protocols.
    pub protocols: Vec<Protocol>,
}

impl Server {
    /// Starts serving in a namespace. When it returns, every socket listens.
    pub fn start(namespace: &Namespace, listen: &[Listen]) -> Result<Self, LabError> {
        let wanted = listen.to_vec();
        let sockets = namespace.run(move || open_all(&wanted))??;
        let failed = |source| LabError::Namespace {
            name: namespace.name().to_owned(),
            source,
        };
        let (stop, stopped) = UnixStream::pair().map_err(failed)?;
        let thread = namespace.spawn(move || serve(&sockets, &stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Serves where the calling thread is, until the process ends. Before it returns an error, it may have begun to.
pub fn serve_here(listen: &[Listen]) -> Result<(), LabError> {
    let sockets = open_all(listen)?;
    let (_held, stopped) = UnixStream::pair().map_err(|source| LabError::Namespace {
        name: "here".to_owned(),
        source,
    })?;
    serve(&sockets, &stopped);
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread ends at the latest when it reads the end of this stream.
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Listener {
    name: String,
    socket: ListenerSocket,
}

enum ListenerSocket {
    Tcp(TcpListener, u16),
    Udp(UdpSocket, u16),
    Sctp {
        raw: UdpSocket,
        ipv4: bool,
        ports: Vec<u16>,
    },
}

fn open_all(listen: &[Listen]) -> Result<Vec<Listener>, LabError> {
    let mut listeners = Vec::new();
    for wanted in listen {
        for &ip in &wanted.addresses {
            for &protocol in &wanted.protocols {
                for socket in
                    open(ip, protocol, &wanted.ports).map_err(|source| LabError::Listen {
                        endpoint: wanted.name.clone(),
                        listen: format!("{ip} {protocol}"),
                        source,
                    })?
                {
                    listeners.push(Listener {
                        name: wanted.name.clone(),
                        socket,
                    });
                }
            }
        }
    }
    Ok(listeners)
}

fn open(ip: IpAddr, protocol: Protocol, ports: &[u16]) -> io::Result<Vec<ListenerSocket>> {
    if protocol == Protocol::Sctp {
        let raw = Socket::new(
            Domain::for_address(SocketAddr::new(ip, 0)),
            Type::RAW.nonblocking(),
            Some(IpProtocol::from(sctp::IP_PROTOCOL)),
        )?;
        raw.bind(&SocketAddr::new(ip, 0).into())?;
        let ports = ports.to_vec();
        return Ok(vec![ListenerSocket::Sctp {
            raw: raw.into(),
            ipv4: ip.is_ipv4(),
            ports,
        }]);
    }
    ports
        .iter()
        .map(|&port| open_port(SocketAddr::new(ip, port), protocol))
        .collect()
}

fn open_port(address: SocketAddr, protocol: Protocol) -> io::Result<ListenerSocket> {
    let stream = protocol == Protocol::Tcp;
    let kind = if stream { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if stream {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if stream {
        socket.listen(1024)?;
        return Ok(ListenerSocket::Tcp(socket.into(), address.port()));
    }
    Ok(ListenerSocket::Udp(socket.into(), address.port()))
}

fn serve(listeners: &[Listener], stopped: &UnixStream) {
    let mut connections: Vec<TcpStream> = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            listeners
                .iter()
                .map(|l| PollFd::new(l.socket.as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            connections
                .iter()
                .map(|c| PollFd::new(c.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        if ready.next() == Some(true) {
            return;
        }
        let ready_listeners: Vec<bool> = ready.by_ref().take(listeners.len()).collect();
        let ready_connections: Vec<bool> = ready.collect();
        let mut ready_connections = ready_connections.into_iter();
        connections.retain_mut(|c| ready_connections.next() != Some(true) || echo(c));
        for (listener, _) in listeners
            .iter()
            .zip(ready_listeners)
            .filter(|(_, ready)| *ready)
        {
            listener.answer(&mut connections);
        }
    }
}

/// Sends back what came; false when the connection has ended.
fn echo(connection: &mut TcpStream) -> bool {
    let mut buffer = [0; DATAGRAM];
    match connection.read(&mut buffer) {
        Ok(0) => false,
        Ok(read) => connection.write_all(&buffer[..read]).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

impl Listener {
    fn greeting(&self, port: u16, client: SocketAddr) -> String {
        format!("{} {port} {client}\n", self.name)
    }

    /// Answers everything that waits. An answer that cannot be sent is the client's time-out.
    fn answer(&self, connections: &mut Vec<TcpStream>) {
        let mut buffer = [0; DATAGRAM];
        match &self.socket {
            ListenerSocket::Tcp(listener, port) => {
                while let Ok((mut connection, client)) = listener.accept() {
                    if connection.set_nonblocking(true).is_ok()
                        && connection.set_nodelay(true).is_ok()
                        && connection
                            .write_all(self.greeting(*port, client).as_bytes())
                            .is_ok()
                    {
                        connections.push(connection);
                    }
                }
            }
            ListenerSocket::Udp(socket, port) => {
                while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(self.greeting(*port, client).as_bytes(), client);
                }
            }
            ListenerSocket::Sctp { raw, ipv4, ports } => {
                while let Ok((read, client)) = raw.recv_from(&mut buffer) {
                    let request = Packet::decode(sctp::payload(&buffer[..read], *ipv4));
                    if let Some(Packet {
                        chunk: Chunk::Init,
                        source_port,
                        destination_port,
                        initiate_tag,
                    }) = request
                        && ports.contains(&destination_port)
                    {
                        let seen = SocketAddr::new(client.ip(), source_port);
                        let reply = Packet {
                            source_port: destination_port,
                            destination_port: source_port,
                            initiate_tag: 1,
                            chunk: Chunk::InitAck {
                                peer_tag: initiate_tag,
                                cookie: self.greeting(destination_port, seen).into_bytes(),
                            },
                        };
                        let _ = raw.send_to(&reply.encode(), SocketAddr::new(client.ip(), 0));
                    }
                }
            }
        }
    }
}

impl AsFd for ListenerSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(socket, _) => socket.as_fd(),
            Self::Udp(socket, _) => socket.as_fd(),
            Self::Sctp { raw, .. } => raw.as_fd(),
        }
    }
}
