//! Rules of others on the nodes: none of them is Sluice's to touch.

use anyhow::ensure;

use sluice_e2e::kind::Node;

use super::lab::Lab;

/// What a node's owner might have made.
const MADE: &str = "
    for p in 'iptables-legacy -w 60' 'iptables-nft -w 60'; do
        $p -t nat -N OTHERS && $p -t nat -A OTHERS -d 203.0.113.1 -j ACCEPT && $p -t nat -I PREROUTING -s 203.0.113.0/24 -j OTHERS || exit 1
        $p -A FORWARD -s 203.0.113.0/24 -j DROP || exit 1
    done
    ipset create others hash:ip; ipset add others 203.0.113.9
    nft add table inet others; nft add chain inet others seen; nft add rule inet others seen ip saddr 203.0.113.2 drop
    sysctl -q -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=1234";
/// Prints it.
const KEPT: &str = "
    for p in 'iptables-legacy -w 60' 'iptables-nft -w 60'; do $p -t nat -S | grep OTHERS; $p -S FORWARD | grep 203.0.113; done
    ipset save others; nft list table inet others; sysctl net.netfilter.nf_conntrack_tcp_timeout_close_wait";

/// Makes such rules on every node.
pub(crate) fn plant(lab: &Lab) -> anyhow::Result<()> {
    lab.cluster
        .nodes()
        .iter()
        .try_for_each(|node| plant_on(lab, node))?;
    are_untouched(lab)
}

/// Makes them on a node that has none.
pub(crate) fn plant_on(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    lab.cluster.on_node(&node.name, &["sh", "-ec", MADE])?;
    Ok(())
}

/// An error where something of it is missing.
pub(crate) fn are_untouched(lab: &Lab) -> anyhow::Result<()> {
    for node in lab.cluster.nodes() {
        let kept = lab.cluster.on_node(&node.name, &["sh", "-c", KEPT])?;
        let lines = kept
            .lines()
            .filter(|line| line.contains("203.0.113") || line.ends_with("= 1234"))
            .count();
        // Three in each variant, a set's element, a rule, a sysctl.
        ensure!(
            lines == 2 * 3 + 3,
            "of others' rules on {} are left:\n{kept}",
            node.name
        );
    }
    Ok(())
}
