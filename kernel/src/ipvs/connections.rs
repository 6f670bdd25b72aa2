//! Connections as `/proc/net/ip_vs_conn` lists them.

use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::IpProtocol;

/// One connection, or one template of persistence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Protocol. 0 for a template of a virtual server by mark, whose [`virtual_server`](Self::virtual_server) address is
    /// the mark then.
    pub protocol: IpProtocol,
    /// Client. The port is 0 in a template, and the address is masked.
    pub client: SocketAddr,
    /// Where the client sent to.
    pub virtual_server: SocketAddr,
    /// Where the packets go.
    pub real_server: SocketAddr,
    /// State as the kernel names it (`ESTABLISHED`, `TIME_WAIT`, `UDP`, ...).
    pub state: String,
    /// Seconds left without a packet.
    pub expires_seconds: u64,
}

/// Why the list broke off.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(std::io::Error),
    Malformed(String),
}

/// Reads the list line by line.
pub(super) fn read(
    list: impl BufRead,
    visit: &mut dyn FnMut(&Connection),
) -> Result<(), ReadError> {
    // The first line is the title.
    for line in list.lines().skip(1) {
        let line = line.map_err(ReadError::Io)?;
        let connection = parse(&line)
            .ok_or_else(|| ReadError::Malformed(format!("{line:?} is no connection")))?;
        visit(&connection);
    }
    Ok(())
}

fn parse(line: &str) -> Option<Connection> {
    let mut words = line.split_whitespace();
    let protocol = match words.next()? {
        "IP" => IpProtocol(0),
        "TCP" => IpProtocol::TCP,
        "UDP" => IpProtocol::UDP,
        "SCTP" => IpProtocol::SCTP,
        "ICMP" => IpProtocol(1),
        "ICMPv6" => IpProtocol(58),
        other => IpProtocol(other.strip_prefix("IP_")?.parse().ok()?),
    };
    let mut endpoint = || {
        let address = address(words.next()?)?;
        let port = u16::from_str_radix(words.next()?, 16).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let (client, virtual_server, real_server) = (endpoint()?, endpoint()?, endpoint()?);
    Some(Connection {
        protocol,
        client,
        virtual_server,
        real_server,
        state: words.next()?.to_owned(),
        expires_seconds: words.next()?.parse().ok()?,
    })
}

/// Eight hexadecimal digits, or IPv6 in full.
fn address(word: &str) -> Option<IpAddr> {
    if word.contains(':') {
        word.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    } else {
        let bits = u32::from_str_radix(word, 16).ok()?;
        Some(Ipv4Addr::from_bits(bits).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Connection, IpProtocol, ReadError, parse, read};

    const TITLE: &str =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

    fn connection(protocol: IpProtocol, ends: [&str; 3], state: &str, seconds: u64) -> Connection {
        let [client, virtual_server, real_server] = ends.map(|end| end.parse().unwrap());
        Connection {
            protocol,
            client,
            virtual_server,
            real_server,
            state: state.to_owned(),
            expires_seconds: seconds,
        }
    }

    #[test]
    fn connections_and_templates_of_both_families_are_read() {
        let list = format!(
            "{TITLE}\
             TCP 0A090901 B788 0A090901 0050 7F000001 1F90 ESTABLISHED     899\n\
             TCP 0A090901 0000 0A090901 0050 7F000001 1F90 ASSURED         299\n\
             UDP fd00:0000:0000:0000:0000:0000:0000:0001 0035 fd00:0000:0000:0000:0000:0000:0000:0002 0036 fd00:0000:0000:0000:0000:0000:0000:0003 0037 UDP         300\n"
        );
        let mut seen = Vec::new();
        read(list.as_bytes(), &mut |connection| {
            seen.push(connection.clone());
        })
        .unwrap();
        let (vip, real) = ("10.9.9.1:80", "127.0.0.1:8080");
        let expected = [
            connection(
                IpProtocol::TCP,
                ["10.9.9.1:46984", vip, real],
                "ESTABLISHED",
                899,
            ),
            connection(IpProtocol::TCP, ["10.9.9.1:0", vip, real], "ASSURED", 299),
            connection(
                IpProtocol::UDP,
                ["[fd00::1]:53", "[fd00::2]:54", "[fd00::3]:55"],
                "UDP",
                300,
            ),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_cut_line_is_malformed() {
        let list = format!("{TITLE}TCP 0A090901 B788 0A090901\n");
        let outcome = read(list.as_bytes(), &mut |_| {});
        assert!(matches!(outcome, Err(ReadError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in ".*") {
            parse(&line);
        }
    }
}
