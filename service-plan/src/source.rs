//! As which source a packet leaves the node.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Family, NodeFacts, PodAction, Settings};

/// As which source a packet leaves the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its own.
    Kept,
    /// The node's address on the interface that it leaves by.
    Masqueraded,
    /// One of these addresses of the node.
    Snat(Vec<IpAddr>),
}

impl Source {
    /// Of what is masqueraded, by the settings for all traffic.
    pub fn masqueraded(family: Family, node: &NodeFacts, settings: &Settings) -> Self {
        Self::inside(&settings.snat_addresses, family, node).unwrap_or(Self::Masqueraded)
    }

    /// Of packets of a class with this action.
    pub fn of_class(
        action: &PodAction,
        family: Family,
        node: &NodeFacts,
        settings: &Settings,
    ) -> Self {
        let masqueraded = || Self::masqueraded(family, node, settings);
        match action {
            PodAction::Preserve => Self::Kept,
            PodAction::Masquerade => masqueraded(),
            PodAction::Snat(networks) => {
                Self::inside(networks, family, node).unwrap_or_else(masqueraded)
            }
        }
    }

    fn inside(networks: &[IpNet], family: Family, node: &NodeFacts) -> Option<Self> {
        let addresses = held_addresses(networks, family, node);
        (!addresses.is_empty()).then_some(Self::Snat(addresses))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("the source stays"),
            Self::Masqueraded => f.write_str("masqueraded"),
            Self::Snat(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "the source becomes {}", list.join(" or "))
            }
        }
    }
}

/// The node's own addresses of a family inside these networks, in order.
pub fn held_addresses(networks: &[IpNet], family: Family, node: &NodeFacts) -> Vec<IpAddr> {
    let wanted =
        |ip: &&IpAddr| Family::of(**ip) == family && networks.iter().any(|net| net.contains(*ip));
    let mut addresses: Vec<IpAddr> = node.addresses.iter().filter(wanted).copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
