//! The glue's chains. Their number and length depend on the settings and on whether IPVS has a part, never on the number of services.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, LocalDetector, NodeFacts, NodePortAddresses, Settings};
use sluice_service_plan::source::held_addresses;

use crate::balancer::ipvs;
use crate::glue::IpvsPart;
use crate::glue::membership::{Role, SetId};
use crate::ruleset::{Chain, Jump};
use sluice_kernel::iptables::Table;

mod filter;
mod mangle;
mod nat;
mod pod_classes;
mod source_nat;
#[cfg(test)]
mod tests;

/// Marks what goes to a service address. The balancer leads there before it translates.
pub(crate) const MARK: &str = "SLUICE-MARK";
/// Marks what goes to a node port.
pub(crate) const MARK_NODE_PORT: &str = "SLUICE-MARK-NODEPORT";

const POSTROUTING: &str = "SLUICE-POSTROUTING";
const MARKED: &str = "SLUICE-MARKED";
const SOURCE_NAT: &str = "SLUICE-SNAT";
pub(super) const INPUT: &str = "SLUICE-INPUT";
const FORWARD: &str = "SLUICE-FORWARD";
const FORWARD_LAST: &str = "SLUICE-FORWARD-LAST";
const OUTPUT: &str = "SLUICE-OUTPUT";
const REFUSE: &str = "SLUICE-REFUSE";
const REJECT: &str = "SLUICE-REJECT";
pub(crate) const IPVS: &str = "SLUICE-IPVS";
const IPVS_VIP: &str = "SLUICE-IPVS-VIP";
const IPVS_OWN: &str = "SLUICE-IPVS-OWN";
pub(crate) const IPVS_REFUSE: &str = "SLUICE-IPVS-REFUSE";
const IPVS_TURN: &str = "SLUICE-IPVS-TURN";
/// Chains of one class of pods start so.
const POD_PREFIX: &str = "SLUICE-POD-";
const INSIDE: &str = "SLUICE-INSIDE";
const INSIDE_NODE: &str = "SLUICE-INSIDE-NODE";

/// Chains that a built-in chain leads to or not, according to the part that IPVS has.
pub(super) const SOMETIMES_LED_TO: [&str; 2] = [IPVS, IPVS_REFUSE];

/// Whether the glue owns a chain.
pub(crate) fn owns(chain: &str) -> bool {
    matches!(
        chain,
        MARK | MARK_NODE_PORT
            | POSTROUTING
            | MARKED
            | SOURCE_NAT
            | INPUT
            | FORWARD
            | FORWARD_LAST
            | OUTPUT
            | REFUSE
            | REJECT
            | IPVS
            | IPVS_VIP
            | IPVS_OWN
            | IPVS_REFUSE
            | IPVS_TURN
            | INSIDE
            | INSIDE_NODE
            | pod_classes::MARK_POD
    ) || chain.starts_with(POD_PREFIX)
}

/// Chains of one table, and jumps to them from the built-in ones.
pub(super) fn of_table(table: Table, inputs: &Inputs<'_>) -> (Vec<Chain>, Vec<Jump>) {
    match table {
        Table::Filter => (filter::chains(inputs), filter::JUMPS.to_vec()),
        Table::Nat => (nat::chains(inputs), nat::jumps(inputs)),
        Table::Mangle => (mangle::chains(inputs), mangle::jumps(inputs)),
    }
}

/// What the chains of one family depend on.
pub(crate) struct Inputs<'a> {
    pub(crate) family: Family,
    pub(crate) node: &'a NodeFacts,
    pub(crate) settings: &'a Settings,
    pub(crate) ipvs: IpvsPart,
}

impl Inputs<'_> {
    pub(crate) fn set(&self, role: Role) -> String {
        SetId {
            role,
            family: self.family,
        }
        .name()
    }

    fn mark(&self) -> String {
        let bit = 1u32 << self.settings.mark_bit;
        format!("{bit:#x}/{bit:#x}")
    }

    /// Matches what does not come from this node's pods; absent without a detector.
    fn outside_match(&self) -> Option<String> {
        match &self.settings.detect_local {
            LocalDetector::None => None,
            LocalDetector::Cidrs(_) => {
                Some(format!("-m set ! --match-set {} src", self.set(Role::Pods)))
            }
            LocalDetector::BridgeInterface(name) => Some(format!("! -i {name}")),
            LocalDetector::InterfaceNamePrefix(prefix) => Some(format!("! -i {prefix}+")),
        }
    }

    /// The node's own addresses that the policy wants as source of masqueraded traffic.
    pub(crate) fn source_addresses(&self) -> Vec<IpAddr> {
        held_addresses(&self.settings.snat_addresses, self.family, self.node)
    }

    /// Matches destinations that serve node ports. `loopback` is how a packet on the loopback device shows, where it may at all:
    /// a neighbour's frame for 127.0.0.1 must not.
    pub(crate) fn node_port_matches(&self, loopback: &str) -> Vec<String> {
        let mut selected = String::new();
        if self.settings.node_port_addresses != NodePortAddresses::All {
            selected = format!(" -m set --match-set {} dst", self.set(Role::NodePortIp));
        }
        // IPVS serves none on link-local addresses.
        let served = if self.family == Family::V6 && self.ipvs == IpvsPart::New {
            "! -d fe80::/10 "
        } else {
            ""
        };
        let mut matches = vec![format!(
            "{served}-m set --match-set {} dst{selected}",
            self.set(Role::OwnIp)
        )];
        if self.serves_localhost() {
            matches.push(format!("-d 127.0.0.0/8 {loopback}{selected}"));
        }
        matches
    }

    /// Leaves destinations that are others' alone where IPVS balances; iptables rules serve them.
    fn leave_excluded(&self, chain: &mut Chain) {
        if self.ipvs == IpvsPart::New {
            let excluded = self.set(Role::Excluded);
            chain.rule(format_args!("-m set --match-set {excluded} dst -j RETURN"));
        }
    }

    /// Matches frontends that the filter table refuses: neither a node port nor another program's rule for the node's own addresses
    /// (a host port's) may translate what comes to them.
    pub(crate) fn refused_matches(&self) -> [String; 2] {
        [Role::Reject, Role::Drop]
            .map(|role| format!("-m set --match-set {} dst,dst", self.set(role)))
    }

    /// Matches what is delivered to the node at an external address that is not its own; at ports of services too.
    pub(crate) fn delivered_match(&self) -> String {
        let [external, own] = [Role::ExternalIp, Role::OwnIp].map(|role| self.set(role));
        format!(
            "-m set --match-set {external} dst -m set ! --match-set {own} dst -m addrtype --dst-type LOCAL"
        )
    }

    /// Matches what comes from this node's pods; absent without a detector.
    fn inside_match(&self) -> Option<String> {
        match &self.settings.detect_local {
            LocalDetector::None => None,
            LocalDetector::Cidrs(_) => {
                Some(format!("-m set --match-set {} src", self.set(Role::Pods)))
            }
            LocalDetector::BridgeInterface(name) => Some(format!("-i {name}")),
            LocalDetector::InterfaceNamePrefix(prefix) => Some(format!("-i {prefix}+")),
        }
    }

    /// The set of addresses and ports that are virtual servers of ours.
    fn virtual_servers(&self) -> String {
        ipvs::names::servers(self.family)
    }

    /// The set of addresses that are the node's only because IPVS serves them.
    fn virtual_addresses(&self) -> String {
        ipvs::names::addresses(self.family)
    }

    /// The set that gives frontends with a pool of their own for this node's clients a mark.
    fn inside_marks(&self) -> String {
        ipvs::names::inside(self.family)
    }

    /// Matches such a mark.
    fn inside_mark(&self) -> String {
        let (tag, mask) = ipvs::names::mark_tag(self.settings.mark_bit);
        format!("{tag:#x}/{mask:#x}")
    }

    fn serves_localhost(&self) -> bool {
        self.settings.localhost_node_ports && self.family == Family::V4
    }
}
