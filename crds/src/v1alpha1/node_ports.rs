//! Node ports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cidr::{Cidr, CidrError};
use super::invalid::Checker;

/// Where node ports are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodePorts {
    /// Networks; the node's addresses inside them serve node ports. Or the one word `primary`: the node's `InternalIP`s.
    /// Default: all addresses of the node but loopback.
    pub addresses: Vec<NodePortAddress>,
    /// Serve node ports on 127.0.0.1 too. Packets for 127.0.0.0/8 that come from other hosts are dropped.
    /// IPVS cannot do it: `mode: IPVS` is refused with it, and `Auto` stays with iptables rules. Default: false.
    pub localhost: bool,
}

/// One entry of [`NodePorts::addresses`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NodePortAddress {
    /// `primary`: the node's `InternalIP`s.
    Primary,
    /// The node's addresses inside a network.
    Cidr(Cidr),
}

impl FromStr for NodePortAddress {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        if text == "primary" {
            Ok(Self::Primary)
        } else {
            text.parse().map(Self::Cidr)
        }
    }
}

impl TryFrom<String> for NodePortAddress {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<NodePortAddress> for String {
    fn from(address: NodePortAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for NodePortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Cidr(cidr) => cidr.fmt(f),
        }
    }
}

impl NodePorts {
    pub(super) fn check(&self, c: &mut Checker) {
        c.no_duplicates("addresses", &self.addresses);
        c.items("addresses", &self.addresses, |c, address| match address {
            NodePortAddress::Primary if self.addresses.len() > 1 => {
                c.wrong("primary stands alone: remove it or the networks");
            }
            NodePortAddress::Cidr(cidr) => self.check_network(*cidr, c),
            NodePortAddress::Primary => {}
        });
        if self.localhost && !self.addresses.is_empty() && self.addresses.iter().all(is_ipv6) {
            c.field("localhost", |c| {
                c.wrong("node ports on 127.0.0.1 need IPv4, and addresses has IPv6 networks only: add an IPv4 network, or set it to false");
            });
        }
    }

    fn check_network(&self, cidr: Cidr, c: &mut Checker) {
        if cidr.is_everything() || !cidr.net().addr().is_loopback() {
            return;
        }
        if cidr.net().addr().is_ipv6() {
            c.wrong("node ports are not served on ::1: remove it");
        } else if !self.localhost {
            c.wrong("loopback addresses serve node ports with localhost: true only: set it, or remove the network");
        }
    }
}

fn is_ipv6(address: &NodePortAddress) -> bool {
    matches!(address, NodePortAddress::Cidr(cidr) if cidr.net().addr().is_ipv6())
}
