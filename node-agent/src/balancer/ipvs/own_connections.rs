//! Connections of the node's own: which of its addresses they have. One that has a service's address breaks when that address goes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TABLES: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// `TIME_WAIT`, `CLOSE` and `LISTEN` (`net/tcp_states.h`).
const WITHOUT_PEER: [&str; 3] = ["06", "07", "0A"];

/// The addresses of TCP connections, in the network namespace of the calling thread.
pub(super) fn addresses() -> io::Result<HashSet<IpAddr>> {
    let mut addresses = HashSet::new();
    for table in TABLES {
        match fs::read_to_string(table) {
            Ok(text) => addresses.extend(text.lines().skip(1).filter_map(address)),
            // Without the family.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(addresses)
}

/// The node's own address in a line of the table; none where there is no peer.
fn address(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _peer, state) = (words.next()?, words.next()?, words.next()?);
    if WITHOUT_PEER.contains(&state) {
        return None;
    }
    let (digits, _port) = local.split_once(':')?;
    // Words of four bytes, each as this machine would read it.
    let word = |at: usize| {
        let word = digits.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_shows_its_address_and_a_listener_does_not() {
        for (here, other) in [("127.8.7.6:0", "127.8.7.5:0"), ("[::1]:0", "")] {
            let Ok(listener) = TcpListener::bind(here) else {
                continue;
            };
            let at = listener.local_addr().unwrap();
            let _alone = TcpListener::bind(other);
            let _connection = TcpStream::connect(at).unwrap();
            let _accepted = listener.accept().unwrap();
            let found = addresses().unwrap();
            assert!(found.contains(&at.ip()), "{at}: {found:?}");
            assert!(!found.contains(&"127.8.7.5".parse().unwrap()), "{found:?}");
        }
    }

    #[test]
    fn a_line_that_is_none_tells_nothing() {
        for line in [
            "",
            "0: 0100007F 00000000:0000 01",
            "0: 01:1 00:0 01",
            "0: é00007F:1 0:0 01",
        ] {
            assert_eq!(address(line), None, "{line}");
        }
    }
}
