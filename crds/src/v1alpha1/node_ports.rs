//! Node ports.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::cidr::{Cidr, CidrError, network_rules};
use super::invalid::Checker;
use super::schema::{network_list, rule, says};

/// Where node ports are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = NodePorts::rules()))]
pub struct NodePorts {
    /// Networks; the node's addresses inside them serve node ports. Or the one word `primary`: the node's `InternalIP`s.
    /// A node that has none of them serves no node port, and says so in its status.
    /// Default: all addresses of the node but loopback, and in IPVS mode but IPv6 link-local ones.
    #[schemars(schema_with = "address_list")]
    pub addresses: Vec<NodePortAddress>,
    /// Serve node ports on 127.0.0.1 too, which must be in a network of `addresses` if there are any. Packets for 127.0.0.0/8 that come from other hosts are dropped.
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

impl JsonSchema for NodePortAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NodePortAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 63, "x-kubernetes-validations": network_rules(&["primary"])})
    }
}

fn address_list(generator: &mut SchemaGenerator) -> Schema {
    network_list::<NodePortAddress>(generator, [])
}

const PRIMARY_ALONE: &str = "primary stands alone: remove it or the networks";
const LOOPBACK_V4: &str =
    "loopback addresses serve node ports with localhost: true only: set it, or remove the network";
const LOOPBACK_V6: &str = "node ports are not served on ::1: remove it";
const LOCALHOST_LEFT_OUT: &str = "127.0.0.1 is in none of addresses, so node ports are not on it: add 127.0.0.0/8 (to networks in place of primary), or set localhost to false";

impl NodePorts {
    fn rules() -> [Rule; 4] {
        let loopback = |family: u8| {
            format!(
                "self.addresses.exists(a, isCIDR(a) && cidr(a).ip().isLoopback() && cidr(a).ip().family() == {family})"
            )
        };
        [
            rule(
                ".addresses",
                "self.addresses.size() < 2 || !('primary' in self.addresses)",
                says(PRIMARY_ALONE),
            ),
            rule(
                ".addresses",
                &format!("self.localhost || !{}", loopback(4)),
                says(LOOPBACK_V4),
            ),
            rule(
                ".addresses",
                &format!("!{}", loopback(6)),
                says(LOOPBACK_V6),
            ),
            rule(
                ".localhost",
                "!self.localhost || self.addresses.size() == 0 || self.addresses.exists(a, isCIDR(a) && cidr(a).containsIP('127.0.0.1'))",
                says(LOCALHOST_LEFT_OUT),
            ),
        ]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.no_duplicates("addresses", &self.addresses);
        c.items("addresses", &self.addresses, |c, address| match address {
            NodePortAddress::Primary if self.addresses.len() > 1 => {
                c.wrong(PRIMARY_ALONE);
            }
            NodePortAddress::Cidr(cidr) => self.check_network(*cidr, c),
            NodePortAddress::Primary => {}
        });
        if self.localhost
            && !self.addresses.is_empty()
            && !self.addresses.iter().any(holds_localhost)
        {
            c.field("localhost", |c| {
                c.wrong(LOCALHOST_LEFT_OUT);
            });
        }
    }

    fn check_network(&self, cidr: Cidr, c: &mut Checker) {
        if cidr.is_everything() || !cidr.net().addr().is_loopback() {
            return;
        }
        if cidr.net().addr().is_ipv6() {
            c.wrong(LOOPBACK_V6);
        } else if !self.localhost {
            c.wrong(LOOPBACK_V4);
        }
    }
}

fn holds_localhost(address: &NodePortAddress) -> bool {
    let localhost = &IpAddr::from(Ipv4Addr::LOCALHOST);
    matches!(address, NodePortAddress::Cidr(cidr) if cidr.net().contains(localhost))
}
