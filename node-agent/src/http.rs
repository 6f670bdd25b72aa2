//! Listening and answering on the agent's HTTP ports.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};

use crate::ports;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Errors of [`bind`].
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", holder.as_ref().map(|h| format!(", which {h} holds")).unwrap_or_default())]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Who listens there, where that can be seen.
    pub holder: Option<String>,
    /// Cause.
    #[source]
    pub source: io::Error,
}

/// Listens on an address as [`listen`] does. The error names who listens there, for which all processes of the node are looked through.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| BindError {
        address,
        holder: (source.kind() == io::ErrorKind::AddrInUse)
            .then(|| ports::describe_tcp_holders(&[address.port()].into()).remove(&address.port()))
            .flatten(),
        source,
    })
}

/// Listens on an address. The unspecified address of either family means all addresses of both, as it does for
/// kube-proxy; on a kernel without IPv6, all of IPv4.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return listen_at(address);
    }
    match listen_at((Ipv6Addr::UNSPECIFIED, address.port()).into()) {
        Err(e) if lacks_ipv6(&e) => listen_at((Ipv4Addr::UNSPECIFIED, address.port()).into()),
        other => other,
    }
}

/// The port of an address that [`bind`] takes for all addresses, where it is said.
pub fn port_on_every_address(address: SocketAddr) -> Option<u16> {
    (address.ip().is_unspecified() && address.port() != 0).then_some(address.port())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(nix::errno::Errno::from_raw),
        Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EADDRNOTAVAIL)
    )
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers on a listener until the task is dropped.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unspecified_address_answers_on_ipv4_and_where_there_is_ipv6_on_that_too() {
        let listener = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_process_that_has_it() {
        let taken = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let refused = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("({})", std::process::id())),
            "{refused}"
        );
    }
}
