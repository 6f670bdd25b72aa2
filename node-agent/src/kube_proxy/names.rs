//! What kube-proxy calls its own.

use sluice_kernel::address_set::{Family, IpProtocol};

/// Chains of its iptables and IPVS modes. The kubelet's (`KUBE-KUBELET-CANARY`, `KUBE-FIREWALL`, `KUBE-MARK-DROP`,
/// `KUBE-IPTABLES-HINT`) are not among them.
const CHAINS: [&str; 13] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    MARK_MASQUERADE,
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];

/// Chains of one service or endpoint: such a start, then a hash.
const CHAIN_STARTS: [&str; 5] = [
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-SEP-",
    "KUBE-EXT-",
    "KUBE-FW-",
];
const HASH_LENGTH: usize = 16;

/// Where others, such as the portmap plugin, may jump to have a packet masqueraded.
pub(super) const MARK_MASQUERADE: &str = "KUBE-MARK-MASQ";
/// Does what [`MARK_MASQUERADE`] asks for.
pub(super) const POSTROUTING: &str = "KUBE-POSTROUTING";

/// Address sets of its IPVS mode, without the start that tells the family.
const SETS: [&str; 17] = [
    "LOOP-BACK",
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-SOURCE-IP",
    "LOAD-BALANCER-SOURCE-CIDR",
    NODE_PORTS_TCP,
    "NODE-PORT-LOCAL-TCP",
    NODE_PORTS_UDP,
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
];
/// Those of them that together name every frontend and every address that it serves.
pub(super) const TELLING_SETS: [&str; 8] = [
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    NODE_PORTS_TCP,
    NODE_PORTS_UDP,
    "NODE-PORT-SCTP-HASH",
    "IPVS-IPS",
];
const NODE_PORTS_TCP: &str = "NODE-PORT-TCP";
const NODE_PORTS_UDP: &str = "NODE-PORT-UDP";
/// All of its sets start so.
pub(super) const SETS_START: &str = "KUBE-";
/// Sysctls without which its IPVS mode does not work. It sets them when it starts.
pub const SYSCTLS_OF_IPVS_MODE: [&str; 4] = [
    "net.ipv4.ip_forward",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
];

/// Longest name of a set; kube-proxy cuts longer ones off.
const SET_NAME: usize = 31;

/// Its table in each family of nftables.
pub(super) const NFT_TABLE: &str = "kube-proxy";

/// Whether a chain is kube-proxy's.
pub(super) fn is_chain(name: &str) -> bool {
    let is_hash = |rest: &str| {
        rest.len() == HASH_LENGTH && rest.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
    };
    CHAINS.contains(&name)
        || CHAIN_STARTS
            .iter()
            .any(|start| name.strip_prefix(start).is_some_and(is_hash))
}

/// Whether an address set is kube-proxy's.
pub(super) fn is_set(name: &str) -> bool {
    set(name).is_some()
}

/// Of which family one of its address sets is, and its name without the start that tells that.
pub(super) fn set(name: &str) -> Option<(Family, &'static str)> {
    let starts = [(Family::V4, "KUBE-"), (Family::V6, "KUBE-6-")];
    starts.into_iter().find_map(|(family, start)| {
        let found = SETS.into_iter().find(|set| {
            let mut whole = format!("{start}{set}");
            whole.truncate(SET_NAME);
            whole == name
        });
        Some((family, found?))
    })
}

/// Of which protocol the ports in a set are that holds ports only.
pub(super) fn protocol_of_ports(set: &str) -> Option<IpProtocol> {
    match set {
        NODE_PORTS_TCP => Some(IpProtocol::TCP),
        NODE_PORTS_UDP => Some(IpProtocol::UDP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_chains_and_sets_are_known_and_those_of_its_neighbours_are_not() {
        for name in [
            "KUBE-SERVICES",
            "KUBE-SVC-NPX46M4PTMTKRN6Y",
            "KUBE-PROXY-CANARY",
        ] {
            assert!(is_chain(name), "{name}");
        }
        for name in [
            "KUBE-KUBELET-CANARY",
            "KUBE-FIREWALL",
            "KUBE-MARK-DROP",
            "KUBE-IPTABLES-HINT",
            "KUBE-ROUTER-INPUT",
            "KUBE-POD-FW-ABCDEFGHIJKLMNOP",
            "KUBE-SVC-",
            "KUBE-FW-mine",
            "CNI-HOSTPORT-DNAT",
            "SLUICE-MARK",
            "POSTROUTING",
        ] {
            assert!(!is_chain(name), "{name}");
        }
        assert!(is_set("KUBE-CLUSTER-IP") && is_set("KUBE-6-CLUSTER-IP"));
        assert!(is_set("KUBE-6-LOAD-BALANCER-SOURCE-CID"), "cut off at 31");
        assert!(!is_set("KUBE-SRC-ABC") && !is_set("SLUICE-4-IPVS") && !is_set("KUBE-6-"));
    }
}
