//! What clients address, as the kernel's objects tell it: the service's name is not in them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sluice_service_plan::model::Protocol;

/// An address and port, or a node port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Frontend {
    /// Absent: a node port.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl Frontend {
    /// The protocol of that name.
    pub(super) fn protocol(name: &str) -> Option<Protocol> {
        let mut all = Protocol::ALL.into_iter();
        all.find(|one| one.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(ip) => write!(f, "{}/{}", SocketAddr::new(ip, self.port), self.protocol),
            None => write!(f, "node port {}/{}", self.port, self.protocol),
        }
    }
}

impl Serialize for Frontend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which frontend is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    at: SocketAddr,
    protocol: Option<Protocol>,
}

impl Wanted {
    /// Whether this is it. `own` tells whether its address serves node ports.
    pub(super) fn is(&self, frontend: &Frontend, own: bool) -> bool {
        let address = match frontend.address {
            Some(ip) => ip == self.at.ip(),
            None => own,
        };
        address
            && frontend.port == self.at.port()
            && self.protocol.is_none_or(|one| one == frontend.protocol)
    }

    /// Its address.
    pub(super) fn ip(&self) -> IpAddr {
        self.at.ip()
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, protocol) = match text.split_once('/') {
            Some((address, name)) => {
                let known = Frontend::protocol(name);
                let unknown = format!("{name} is no protocol of Services: write tcp, udp or sctp");
                (address, Some(known.ok_or(unknown)?))
            }
            None => (text, None),
        };
        let at = address.parse().map_err(|_| {
            format!("{address} is not ADDRESS:PORT: write 10.96.0.1:443 or [fd00::1]:443")
        })?;
        Ok(Self { at, protocol })
    }
}

#[cfg(test)]
impl FromStr for Frontend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted: Wanted = text.parse()?;
        Ok(Self {
            address: Some(wanted.at.ip()),
            port: wanted.at.port(),
            protocol: wanted.protocol.unwrap_or(Protocol::Tcp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontend_is_found_with_and_without_its_protocol() {
        let dns: Frontend = "10.96.0.10:53/udp".parse().unwrap();
        let is = |text: &str, own| text.parse::<Wanted>().unwrap().is(&dns, own);
        assert!(is("10.96.0.10:53", false) && is("10.96.0.10:53/UDP", false));
        assert!(!is("10.96.0.10:53/tcp", false) && !is("10.96.0.11:53", true));
        let node_port = Frontend {
            address: None,
            ..dns
        };
        let wanted: Wanted = "192.168.0.10:53".parse().unwrap();
        assert!(wanted.is(&node_port, true) && !wanted.is(&node_port, false));
        assert!(
            "10.96.0.10"
                .parse::<Wanted>()
                .unwrap_err()
                .contains("ADDRESS:PORT")
        );
    }
}
