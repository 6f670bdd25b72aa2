//! What kube-proxy calls its own.

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
    "NODE-PORT-TCP",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-UDP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
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
    ["KUBE-", "KUBE-6-"].iter().any(|start| {
        SETS.iter().any(|set| {
            let mut whole = format!("{start}{set}");
            whole.truncate(SET_NAME);
            whole == name
        })
    })
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
