//! Whether this node's kernel passes packets on, which every packet to or from a pod needs.

use std::net::IpAddr;

use sluice_kernel::sysctl::Sysctls;
use sluice_service_plan::model::NodeFacts;

type OfFamily = fn(&IpAddr) -> bool;

/// Families with the sysctl that lets them be forwarded; the kernel's ip-sysctl document describes both, and kubeadm asks for them before it
/// takes a node in.
const SWITCHES: [(&str, &str, OfFamily); 2] = [
    ("IPv4", "net.ipv4.ip_forward", IpAddr::is_ipv4),
    ("IPv6", "net.ipv6.conf.all.forwarding", IpAddr::is_ipv6),
];

/// A sentence for each family of the node's that ends here. The owner of a node decides whether it is a router: nothing is set.
pub fn conditions(node: &NodeFacts, sysctls: &mut dyn Sysctls) -> Vec<String> {
    let mut conditions = Vec::new();
    for (family, name, is_of) in SWITCHES {
        let is_off = |value: String| value.trim() == "0";
        if node.internal_ips.iter().any(is_of) && sysctls.read(name).is_ok_and(is_off) {
            conditions.push(format!(
                "this node does not forward {family}: packets for its node ports and those of its pods go no further; set the sysctl {name} to 1, for its next start too"
            ));
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use sluice_kernel::sysctl::MemorySysctls;

    use super::*;

    #[test]
    fn a_family_that_the_node_has_and_does_not_forward_is_told_with_the_remedy() {
        let of = |addresses: &[&str], v4: &str, v6: &str| {
            let node = NodeFacts {
                internal_ips: addresses.iter().map(|text| text.parse().unwrap()).collect(),
                ..NodeFacts::default()
            };
            let [(_, of_v4, _), (_, of_v6, _)] = SWITCHES;
            conditions(&node, &mut MemorySysctls::new([(of_v4, v4), (of_v6, v6)]))
        };
        assert!(of(&["192.0.2.1", "2001:db8::1"], "1", "1").is_empty());
        // A node without an address of a family has no pods of it that others could ask.
        assert!(of(&["192.0.2.1"], "1", "0").is_empty());
        let told = of(&["192.0.2.1", "2001:db8::1"], "0", "0");
        assert_eq!(told.len(), 2, "{told:?}");
        for (sentence, (family, name, _)) in told.iter().zip(SWITCHES) {
            assert!(
                sentence.contains(&format!("forward {family}:")),
                "{sentence}"
            );
            assert!(
                sentence.contains(&format!("the sysctl {name} to 1")),
                "{sentence}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_complained_of() {
        let node = NodeFacts {
            internal_ips: vec!["192.0.2.1".parse().unwrap()],
            ..NodeFacts::default()
        };
        assert!(conditions(&node, &mut MemorySysctls::default()).is_empty());
    }
}
