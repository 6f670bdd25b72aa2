//! Who may use a frontend: `loadBalancerSourceRanges`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::NodeFacts;
use crate::plan::{Frontend, FrontendAddress};

/// Why a client may use a frontend, or that it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The frontend has no source ranges.
    Open,
    /// Its source is inside this range.
    Range(IpNet),
    /// Its source is the frontend's own address, and the ranges let the node in: see [`admits_itself`].
    OwnAddress,
    /// No range holds its source.
    Refused,
}

impl Admission {
    /// Judges one client of one frontend.
    pub fn of(source: IpAddr, frontend: &Frontend, node: &NodeFacts) -> Self {
        let Some(ranges) = &frontend.source_ranges else {
            return Self::Open;
        };
        if let Some(range) = ranges.iter().find(|range| range.contains(&source)) {
            return Self::Range(*range);
        }
        if frontend.address == FrontendAddress::Ip(source) && admits_itself(ranges, node) {
            return Self::OwnAddress;
        }
        Self::Refused
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("no loadBalancerSourceRanges guard it"),
            Self::Range(range) => write!(f, "loadBalancerSourceRanges allow it by {range}"),
            Self::OwnAddress => f.write_str(
                "loadBalancerSourceRanges allow the node, and the source is the address itself",
            ),
            Self::Refused => f.write_str("no range of loadBalancerSourceRanges holds its source"),
        }
    }
}

/// Whether a load-balancer address with these ranges accepts itself as a source: where a range holds an address of
/// the node. Load balancers often bind their address on the node, and a packet that the node sends to such an address
/// has it as its source too. kube-proxy does the same.
pub fn admits_itself(ranges: &[IpNet], node: &NodeFacts) -> bool {
    ranges
        .iter()
        .any(|range| node.addresses.iter().any(|ip| range.contains(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FrontendKind, Masquerade, Pool, Refusal};

    #[test]
    fn ranges_admit_their_clients_and_the_own_address_only_where_the_node_is_inside() {
        let node = NodeFacts {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ..NodeFacts::default()
        };
        let range = |text: &str| -> IpNet { text.parse().unwrap() };
        let with_node = [range("192.0.2.0/24")];
        let without_node = [range("198.51.100.0/24")];
        let rows = [
            (None, "203.0.113.9", Admission::Open),
            (
                Some(&with_node),
                "192.0.2.7",
                Admission::Range(with_node[0]),
            ),
            (Some(&with_node), "203.0.113.9", Admission::Refused),
            (Some(&with_node), "203.0.113.1", Admission::OwnAddress),
            (Some(&without_node), "203.0.113.1", Admission::Refused),
        ];
        for (ranges, source, want) in rows {
            let frontend = Frontend {
                address: FrontendAddress::Ip("203.0.113.1".parse().unwrap()),
                port: 80,
                kind: FrontendKind::LoadBalancer,
                source_ranges: ranges.map(|ranges| ranges.to_vec()),
                outside: Pool::Cluster,
                inside: Pool::Cluster,
                refusal: Refusal::Reject,
                masquerade: Masquerade::Always,
            };
            assert_eq!(
                Admission::of(source.parse().unwrap(), &frontend, &node),
                want,
                "{source} {ranges:?}"
            );
        }
    }
}
