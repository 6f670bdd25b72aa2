//! Which addresses of the node serve node ports.

use std::net::IpAddr;

use crate::model::{NodeFacts, NodePortAddresses, Settings};

/// The addresses that the node holds and that serve node ports, both families, sorted.
///
/// Loopback serves only where [`Settings::localhost_node_ports`] is on, and then only IPv4: the kernel has no
/// `route_localnet` for IPv6.
pub fn node_port_addresses(node: &NodeFacts, settings: &Settings) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = node
        .addresses
        .iter()
        .copied()
        .filter(|ip| !ip.is_loopback() || (settings.localhost_node_ports && ip.is_ipv4()))
        .filter(|ip| match &settings.node_port_addresses {
            NodePortAddresses::All => true,
            NodePortAddresses::Cidrs(networks) => networks.iter().any(|net| net.contains(ip)),
            NodePortAddresses::Primary => node.internal_ips.contains(ip),
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn node() -> NodeFacts {
        NodeFacts {
            internal_ips: ips(&["192.0.2.1", "2001:db8::1", "192.0.2.99"]),
            addresses: ips(&[
                "2001:db8::1",
                "127.0.0.1",
                "::1",
                "192.0.2.1",
                "198.51.100.1",
                "192.0.2.1",
            ]),
            ..NodeFacts::default()
        }
    }

    fn cidrs(list: &[&str]) -> NodePortAddresses {
        NodePortAddresses::Cidrs(list.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn each_choice_selects_its_addresses_and_loopback_only_on_request() {
        let rows = [
            (
                NodePortAddresses::All,
                false,
                vec!["192.0.2.1", "198.51.100.1", "2001:db8::1"],
            ),
            (
                NodePortAddresses::All,
                true,
                vec!["127.0.0.1", "192.0.2.1", "198.51.100.1", "2001:db8::1"],
            ),
            (cidrs(&["198.51.100.0/24"]), true, vec!["198.51.100.1"]),
            (cidrs(&["127.0.0.0/8"]), true, vec!["127.0.0.1"]),
            (cidrs(&["127.0.0.0/8", "::/0"]), false, vec!["2001:db8::1"]),
            (
                NodePortAddresses::Primary,
                true,
                vec!["192.0.2.1", "2001:db8::1"],
            ),
        ];
        for (node_port_addresses, localhost_node_ports, want) in rows {
            let settings = Settings {
                node_port_addresses,
                localhost_node_ports,
                ..Settings::default()
            };
            assert_eq!(
                super::node_port_addresses(&node(), &settings),
                ips(&want),
                "{settings:?}"
            );
        }
    }
}
