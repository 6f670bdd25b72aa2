//! Which local sockets listen on which ports, as `/proc/net` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use sluice_service_plan::model::Protocol;

/// A socket that takes new packets or connections on a port of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it listens; the unspecified address means all.
    pub address: SocketAddr,
    /// Inode of the socket, by which its process is found.
    pub inode: u64,
}

/// State `TCP_LISTEN` of `include/net/tcp_states.h`.
const TCP_LISTEN: &str = "0A";
/// State of an unconnected UDP socket (`TCP_CLOSE`).
const UDP_UNCONNECTED: &str = "07";

/// Lists the listening sockets of this thread's network namespace. A family that the kernel lacks has none.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let tables = [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ];
    let mut found = Vec::new();
    for (table, protocol) in tables {
        match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(text) => {
                found.extend(
                    text.lines()
                        .skip(1)
                        .filter_map(|line| parse_line(line, protocol)),
                );
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn parse_line(line: &str, protocol: Protocol) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let listening = if protocol == Protocol::Tcp {
        TCP_LISTEN
    } else {
        UDP_UNCONNECTED
    };
    if *fields.get(3)? != listening {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Listener {
        protocol,
        address: SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each 32-bit word of an address in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(bytes).ok()?,
        ))),
        _ => None,
    }
}

/// The process that has a socket open, as `name (pid)`; absent when it cannot be seen from here.
pub fn owner_of(inode: u64) -> Option<String> {
    owners_of(&[inode].into()).remove(&inode)
}

/// The same of several sockets, by one look through the processes.
fn owners_of(inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if owners.len() == inodes.len() {
            break;
        }
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let fds = process.path().join("fd");
        let open = open_sockets(&fds);
        let mut found = open.filter(|inode| inodes.contains(inode)).peekable();
        if found.peek().is_none() {
            continue;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let owner = format!("{} ({pid})", name.trim());
        for inode in found {
            owners.entry(inode).or_insert_with(|| owner.clone());
        }
    }
    owners
}

fn open_sockets(fds: &Path) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(fds).into_iter().flatten().flatten();
    entries.filter_map(|fd| {
        let to = fs::read_link(fd.path()).ok()?;
        let inode = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    })
}

/// Says who listens on each of these TCP ports, for messages: `nginx (812) at 0.0.0.0:30080`. It reads the tables of sockets and looks through
/// the processes, once for all ports.
pub fn describe_tcp_holders(ports: &BTreeSet<u16>) -> BTreeMap<u16, String> {
    let mut holders: BTreeMap<u16, Listener> = BTreeMap::new();
    for listener in listeners().unwrap_or_default() {
        let port = listener.address.port();
        if listener.protocol == Protocol::Tcp && ports.contains(&port) {
            holders.entry(port).or_insert(listener);
        }
    }
    let owners = owners_of(&holders.values().map(|holder| holder.inode).collect());
    let described = holders.into_iter().map(|(port, holder)| {
        let owner = owners.get(&holder.inode).map(String::as_str);
        let owner = owner.unwrap_or("a process that cannot be seen");
        (port, format!("{owner} at {}", holder.address))
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn listening_tcp_and_udp_sockets_of_both_families_are_found_with_their_owner() {
        // First, so that it does not get the port of the one that is closed.
        let kept = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = listeners().unwrap();
        let at = |protocol, address| {
            found
                .iter()
                .find(|l| l.protocol == protocol && l.address == address)
                .cloned()
        };
        assert_eq!(at(Protocol::Tcp, tcp), None, "closed sockets do not listen");
        let listener = at(Protocol::Tcp, kept.local_addr().unwrap()).unwrap();
        let owner = owner_of(listener.inode).unwrap();
        assert!(
            owner.ends_with(&format!("({})", std::process::id())),
            "{owner}"
        );
        assert!(at(Protocol::Udp, udp.local_addr().unwrap()).is_some());
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            assert!(
                listeners()
                    .unwrap()
                    .iter()
                    .any(|l| l.address == v6.local_addr().unwrap())
            );
        }
    }

    #[test]
    fn a_connected_socket_is_no_listener() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 77 1";
        assert_eq!(parse_line(line, Protocol::Tcp), None);
        let line = line.replace(" 01 ", " 0A ");
        let listener = parse_line(&line, Protocol::Tcp).unwrap();
        assert_eq!(listener.address.port(), 8080);
        assert_eq!(listener.inode, 77);
    }
}
