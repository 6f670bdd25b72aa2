//! Whether the node holds addresses in the networks that the settings name.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_service_plan::model::{Family, NodeFacts, NodePortAddresses, PodAction, Settings};
use sluice_service_plan::node_ports::node_port_addresses;
use sluice_service_plan::source::held_addresses;

use crate::family::is_link_local;

/// A sentence for each of these fields of the settings in whose networks the node holds nothing. A family that the node has no address of, or
/// that no network names, is not complained of.
pub(super) fn conditions(node: &NodeFacts, settings: &Settings) -> Vec<String> {
    let mut conditions = of_node_ports(node, settings);
    for family in lacking(&settings.snat_addresses, node) {
        conditions.push(format!(
            "the node holds no {} address in the policy's snat.addressCIDRs: it masquerades {0} by the outgoing interface's address",
            name(family)
        ));
    }
    for class in &settings.pod_classes {
        let PodAction::Snat(networks) = &class.action else {
            continue;
        };
        for family in lacking(networks, node) {
            conditions.push(format!(
                "the node holds no {} address in snat.addressCIDRs of the pod class {}: its pods are masqueraded",
                name(family),
                class.name
            ));
        }
    }
    conditions
}

fn of_node_ports(node: &NodeFacts, settings: &Settings) -> Vec<String> {
    const REMEDY: &str = "correct the networks, or leave the field out";
    let serving = node_port_addresses(node, settings);
    match &settings.node_port_addresses {
        NodePortAddresses::All => Vec::new(),
        _ if !node.addresses.iter().any(is_reachable) => Vec::new(),
        NodePortAddresses::Primary if serving.is_empty() => vec![
            "the node holds no address in nodePorts.addresses (primary: its InternalIPs): it serves no node port; name networks instead, or leave the field out"
                .to_owned(),
        ],
        NodePortAddresses::Primary => Vec::new(),
        NodePortAddresses::Cidrs(networks) if serving.is_empty() => vec![format!(
            "the node holds no address in nodePorts.addresses ({}): it serves no node port; {REMEDY}",
            list(networks.iter())
        )],
        NodePortAddresses::Cidrs(networks) => judged(networks, node)
            .filter(|family| !serving.iter().any(|ip| Family::of(*ip) == *family))
            .map(|family| {
                let of_family = networks.iter().filter(|net| Family::of_net(net) == family);
                format!(
                    "the node holds no {} address in nodePorts.addresses ({}): it serves no node port by {0}; {REMEDY}",
                    name(family),
                    list(of_family)
                )
            })
            .collect(),
    }
}

fn lacking(networks: &[IpNet], node: &NodeFacts) -> impl Iterator<Item = Family> {
    judged(networks, node).filter(move |family| held_addresses(networks, *family, node).is_empty())
}

/// Families that the networks name, and of which the node has an address that others reach.
fn judged(networks: &[IpNet], node: &NodeFacts) -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| {
        let mut reachable = node.addresses.iter().filter(|ip| is_reachable(ip));
        networks.iter().any(|net| Family::of_net(net) == *family)
            && reachable.any(|ip| Family::of(*ip) == *family)
    })
}

fn is_reachable(ip: &IpAddr) -> bool {
    let is_ipv4_link_local = matches!(ip, IpAddr::V4(ip) if ip.is_link_local());
    !ip.is_loopback() && !is_link_local(ip) && !is_ipv4_link_local
}

fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn list<'a>(networks: impl Iterator<Item = &'a IpNet>) -> String {
    let list: Vec<String> = networks.map(ToString::to_string).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(addresses: &[&str]) -> NodeFacts {
        NodeFacts {
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..NodeFacts::default()
        }
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn each_family_that_the_networks_name_and_the_node_has_is_judged_by_itself() {
        let rows: [(&[&str], &[&str]); 6] = [
            (&["192.0.2.7", "2001:db8::7"], &[]),
            (&["192.0.2.7", "2001:db8:1::7"], &["IPv6"]),
            (&["198.51.100.7", "2001:db8:1::7"], &["IPv4", "IPv6"]),
            (&["192.0.2.7", "::1", "fe80::1"], &[]),
            (&["198.51.100.7", "169.254.20.10"], &["IPv4"]),
            (&[], &[]),
        ];
        for (addresses, families) in rows {
            let mut settings = Settings {
                snat_addresses: nets(&["192.0.2.0/24", "2001:db8::/64"]),
                ..Settings::default()
            };
            let told = conditions(&node(addresses), &settings);
            let expected = families.iter().map(|family| {
                format!("the node holds no {family} address in the policy's snat.addressCIDRs")
            });
            assert_eq!(told.len(), families.len(), "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(&expected), "{told}");
            }
            settings.snat_addresses = nets(&["192.0.2.0/24"]);
            let told = conditions(&node(addresses), &settings);
            assert!(!told.iter().any(|told| told.contains("IPv6")), "{told:?}");
        }
    }

    #[test]
    fn networks_for_node_ports_that_the_node_has_no_address_in_are_told() {
        let told = |choice: NodePortAddresses, addresses: &[&str]| {
            let settings = Settings {
                node_port_addresses: choice,
                ..Settings::default()
            };
            conditions(&node(addresses), &settings).join("\n")
        };
        let both = ["192.0.2.7", "2001:db8::7"];
        let cidrs = |list: &[&str]| NodePortAddresses::Cidrs(nets(list));
        assert_eq!(told(NodePortAddresses::All, &both), "");
        assert_eq!(told(cidrs(&["192.0.2.0/24"]), &both), "");
        assert_eq!(
            told(cidrs(&["203.0.113.0/24", "127.0.0.0/8"]), &both),
            "the node holds no address in nodePorts.addresses (203.0.113.0/24, 127.0.0.0/8): it serves no node port; correct the networks, or leave the field out"
        );
        assert_eq!(
            told(cidrs(&["192.0.2.0/24", "2001:db8:1::/64"]), &both),
            "the node holds no IPv6 address in nodePorts.addresses (2001:db8:1::/64): it serves no node port by IPv6; correct the networks, or leave the field out"
        );
        let of_primary = told(NodePortAddresses::Primary, &both);
        assert!(
            of_primary.contains("(primary: its InternalIPs): it serves no node port"),
            "{of_primary}"
        );
        // What it holds is not known yet.
        assert_eq!(told(cidrs(&["203.0.113.0/24"]), &["127.0.0.1"]), "");
    }

    #[test]
    fn primary_is_fine_where_the_node_holds_an_internal_ip() {
        let settings = Settings {
            node_port_addresses: NodePortAddresses::Primary,
            ..Settings::default()
        };
        let mut node = node(&["192.0.2.7"]);
        node.internal_ips.clone_from(&node.addresses);
        assert_eq!(conditions(&node, &settings), [""; 0]);
    }
}
