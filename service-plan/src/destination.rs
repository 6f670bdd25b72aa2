//! Where a packet is sent, as people write it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::model::Protocol;

/// `ADDRESS:PORT` or `ADDRESS:PORT/PROTOCOL`; TCP where no protocol is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Address and port.
    pub address: SocketAddr,
    /// Layer-4 protocol.
    pub protocol: Protocol,
}

/// A text that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationError {
    /// What follows the slash.
    Protocol(String),
    /// What is before it.
    Address(String),
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(text) => write!(
                f,
                "{text} is no protocol of Services: write tcp, udp or sctp"
            ),
            Self::Address(text) => write!(
                f,
                "{text} is not ADDRESS:PORT: write 10.96.0.1:443 or [fd00::1]:443"
            ),
        }
    }
}

impl std::error::Error for DestinationError {}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::ALL
            .into_iter()
            .find(|one| one.as_str().eq_ignore_ascii_case(protocol))
            .ok_or_else(|| DestinationError::Protocol(protocol.to_owned()))?;
        let address = address
            .parse()
            .map_err(|_| DestinationError::Address(address.to_owned()))?;
        Ok(Self { address, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_with_and_without_a_protocol() {
        let read = |text: &str| text.parse::<Destination>();
        assert_eq!(
            read("10.0.0.1:80").unwrap(),
            Destination {
                address: "10.0.0.1:80".parse().unwrap(),
                protocol: Protocol::Tcp
            }
        );
        assert_eq!(read("[fd00::1]:53/UDP").unwrap().protocol, Protocol::Udp);
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("10.0.0.1").contains("ADDRESS:PORT"));
        assert!(said("10.0.0.1:80/icmp").contains("sctp"));
    }
}
