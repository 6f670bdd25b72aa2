//! Addresses and networks as Kubernetes has always read them: leading zeros are decimal (`010.0.0.1` is `10.0.0.1`).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::error::{FieldError, Problem};

/// Reads an address. An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => parse_ipv4_with_zeros(text).map(IpAddr::V4),
    }
}

/// Reads an address that packets from other hosts can have.
pub(super) fn reachable_address(
    text: &str,
    field: impl Fn() -> String,
) -> Result<IpAddr, FieldError> {
    let address = parse_address(text)
        .ok_or_else(|| FieldError::new(field(), Problem::NotAnAddress(text.to_owned())))?;
    let class = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_loopback() {
        "a loopback address"
    } else if address.is_multicast() {
        "a multicast address"
    } else {
        return Ok(address);
    };
    Err(FieldError::new(
        field(),
        Problem::SpecialAddress { address, class },
    ))
}

/// Reads a network, blanks around it or not, and clears its host bits.
pub(super) fn network(text: &str, field: impl Fn() -> String) -> Result<IpNet, FieldError> {
    parse_network(text.trim())
        .ok_or_else(|| FieldError::new(field(), Problem::NotANetwork(text.to_owned())))
}

fn parse_network(text: &str) -> Option<IpNet> {
    let (address, prefix_len) = text.split_once('/')?;
    let mapped = address.contains(':') && address.contains('.');
    let net = IpNet::new(parse_address(address)?, decimal(prefix_len)?).ok()?;
    (!mapped).then(|| net.trunc())
}

fn parse_ipv4_with_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.').map(decimal);
    let octets = [
        parts.next()??,
        parts.next()??,
        parts.next()??,
        parts.next()??,
    ];
    parts.next().is_none().then(|| octets.into())
}

fn decimal(text: &str) -> Option<u8> {
    // `parse` would take a plus sign.
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kubernetes_reads_them() {
        let rows = [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.000.0.08", Some("10.0.0.8")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("FD00::0:1", Some("fd00::1")),
            ("10.0.0", None),
            ("10.0.0.1.2", None),
            ("10.0.0.256", None),
            ("10.0.0.+1", None),
            (" 10.0.0.1", None),
            ("fe80::1%eth0", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(
                parse_address(text).map(|a| a.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn networks_lose_blanks_zeros_and_host_bits() {
        let rows = [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            (" 010.0.0.0/08\t", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("fd00::1/64", Some("fd00::/64")),
            ("10.0.0.0/33", None),
            ("10.0.0.0", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/-1", None),
            ("::ffff:10.0.0.0/104", None),
        ];
        for (text, expected) in rows {
            let read = network(text, String::new).ok().map(|n| n.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
