//! The glue's chains. Their number and length depend on the settings, never on the number of services.

use std::net::IpAddr;

use sluice_service_plan::model::{
    Family, LocalDetector, NodeFacts, NodePortAddresses, Protocol, Settings,
};

use crate::glue::membership::{Role, SetId};
use crate::ruleset::{Chain, Jump, Place, random_share};

/// Marks what goes to a service address. The balancer leads there before it translates.
pub(crate) const MARK: &str = "SLUICE-MARK";
/// Marks what goes to a node port.
pub(crate) const MARK_NODE_PORT: &str = "SLUICE-MARK-NODEPORT";

const POSTROUTING: &str = "SLUICE-POSTROUTING";
const MARKED: &str = "SLUICE-MARKED";
const SOURCE_NAT: &str = "SLUICE-SNAT";
const INPUT: &str = "SLUICE-INPUT";
const FORWARD: &str = "SLUICE-FORWARD";
const FORWARD_LAST: &str = "SLUICE-FORWARD-LAST";
const OUTPUT: &str = "SLUICE-OUTPUT";
const REFUSE: &str = "SLUICE-REFUSE";
const REJECT: &str = "SLUICE-REJECT";

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
    )
}

/// Jumps from the built-in chains of the nat table.
pub(super) const NAT_JUMPS: [Jump; 1] = [Jump {
    from: "POSTROUTING",
    to: POSTROUTING,
    comment: "sluice: source NAT of service traffic",
    place: Place::First,
}];

/// Jumps from the built-in chains of the filter table.
pub(super) const FILTER_JUMPS: [Jump; 4] = [
    Jump {
        from: "INPUT",
        to: INPUT,
        comment: "sluice: refused service traffic",
        place: Place::First,
    },
    Jump {
        from: "FORWARD",
        to: FORWARD,
        comment: "sluice: refused and accepted service traffic",
        place: Place::First,
    },
    Jump {
        from: "OUTPUT",
        to: OUTPUT,
        comment: "sluice: refused service traffic",
        place: Place::First,
    },
    Jump {
        from: "FORWARD",
        to: FORWARD_LAST,
        comment: "sluice: translated and refused by nobody",
        place: Place::Last,
    },
];

/// What the chains of one family depend on.
pub(crate) struct Inputs<'a> {
    pub(crate) family: Family,
    pub(crate) node: &'a NodeFacts,
    pub(crate) settings: &'a Settings,
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
        let wanted = |ip: &&IpAddr| {
            Family::of(**ip) == self.family
                && self
                    .settings
                    .snat_addresses
                    .iter()
                    .any(|net| net.contains(*ip))
        };
        let mut addresses: Vec<IpAddr> =
            self.node.addresses.iter().filter(wanted).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Matches destinations that serve node ports. `loopback` is how a packet on the loopback device shows, where it may at all:
    /// a neighbour's frame for 127.0.0.1 must not.
    pub(crate) fn node_port_matches(&self, loopback: &str) -> Vec<String> {
        let mut selected = String::new();
        if self.settings.node_port_addresses != NodePortAddresses::All {
            selected = format!(" -m set --match-set {} dst", self.set(Role::NodePortIp));
        }
        let mut matches = vec![format!(
            "-m set --match-set {} dst{selected}",
            self.set(Role::OwnIp)
        )];
        if self.serves_localhost() {
            matches.push(format!("-d 127.0.0.0/8 {loopback}{selected}"));
        }
        matches
    }

    fn serves_localhost(&self) -> bool {
        self.settings.localhost_node_ports && self.family == Family::V4
    }
}

/// Chains of the nat table.
pub(super) fn nat(inputs: &Inputs<'_>) -> Vec<Chain> {
    vec![
        mark(inputs),
        mark_node_port(inputs),
        postrouting(inputs),
        marked(inputs),
        source_nat(inputs),
    ]
}

/// Chains of the filter table.
pub(super) fn filter(inputs: &Inputs<'_>) -> Vec<Chain> {
    vec![
        input(inputs),
        forward(inputs),
        forward_last(),
        output(inputs),
        refuse(inputs),
        reject(inputs),
    ]
}

fn mark(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARK);
    let mark = inputs.mark();
    let always = inputs.set(Role::Masquerade);
    chain.rule(format_args!(
        "-m set --match-set {always} dst,dst -j MARK --set-xmark {mark}"
    ));
    if let Some(outside) = inputs.outside_match() {
        let set = inputs.set(Role::MasqueradeOutside);
        // iptables-save prints interfaces before matches and matches in the order given.
        let matches = if outside.starts_with("! -i") {
            format!("{outside} -m set --match-set {set} dst,dst")
        } else {
            format!("-m set --match-set {set} dst,dst {outside}")
        };
        chain.rule(format_args!("{matches} -j MARK --set-xmark {mark}"));
    }
    let from_node = inputs.set(Role::MasqueradeNode);
    chain.rule(format_args!(
        "-m set --match-set {from_node} dst,dst -m addrtype --src-type LOCAL -j MARK --set-xmark {mark}"
    ));
    chain
}

fn mark_node_port(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARK_NODE_PORT);
    let mark = inputs.mark();
    let always = inputs.set(Role::NodePortMasquerade);
    chain.rule(format_args!(
        "-m set --match-set {always} dst,dst -j MARK --set-xmark {mark}"
    ));
    let from_node = inputs.set(Role::NodePortMasqueradeNode);
    chain.rule(format_args!(
        "-m set --match-set {from_node} dst,dst -m addrtype --src-type LOCAL -j MARK --set-xmark {mark}"
    ));
    chain
}

fn postrouting(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(POSTROUTING);
    chain.lead(&format!("-m mark --mark {}", inputs.mark()), "-j", MARKED);
    let hairpin = inputs.set(Role::Hairpin);
    // Only what was translated: a host-network endpoint talking to itself directly is no business of ours.
    chain.lead(
        &format!("-m conntrack --ctstate DNAT -m set --match-set {hairpin} dst,dst,src"),
        "-g",
        SOURCE_NAT,
    );
    chain
}

fn marked(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARKED);
    let bit = 1u32 << inputs.settings.mark_bit;
    chain.rule(format_args!("-j MARK --set-xmark 0x0/{bit:#x}"));
    let keep = inputs.set(Role::KeepSource);
    chain.rule(format_args!("-m set --match-set {keep} dst -j RETURN"));
    chain.lead("", "-j", SOURCE_NAT);
    chain
}

fn source_nat(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(SOURCE_NAT);
    let random = if inputs.settings.random_fully {
        " --random-fully"
    } else {
        ""
    };
    let addresses = inputs.source_addresses();
    if addresses.is_empty() {
        if let Some((first, last)) = inputs.settings.snat_ports {
            for protocol in Protocol::ALL {
                chain.rule(format_args!(
                    "-p {protocol} -j MASQUERADE --to-ports {first}-{last}{random}"
                ));
            }
        }
        chain.rule(format_args!("-j MASQUERADE{random}"));
        return chain;
    }
    for (index, address) in addresses.iter().enumerate() {
        let rest = addresses.len() - index;
        let share = random_share(1, rest as u64);
        if let Some((first, last)) = inputs.settings.snat_ports {
            // One draw decides for the three protocols: a packet has one of them.
            let to = match address {
                IpAddr::V4(ip) => format!("{ip}:{first}-{last}"),
                IpAddr::V6(ip) => format!("[{ip}]:{first}-{last}"),
            };
            for protocol in Protocol::ALL {
                chain.rule(format_args!(
                    "-p {protocol}{share} -j SNAT --to-source {to}{random}"
                ));
            }
        } else {
            let share = share.trim_start();
            let gap = if share.is_empty() { "" } else { " " };
            chain.rule(format_args!(
                "{share}{gap}-j SNAT --to-source {address}{random}"
            ));
        }
    }
    chain
}

fn input(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(INPUT);
    guard_localhost(inputs, &mut chain);
    let health = inputs.set(Role::HealthPort);
    chain.rule(format_args!(
        "-p tcp -m conntrack --ctstate NEW -m set --match-set {health} dst -j ACCEPT"
    ));
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    // Nothing of the node answers on a service address, unless it is the node's own: that would lock ssh out.
    let external = inputs.set(Role::ExternalIp);
    let own = inputs.set(Role::OwnIp);
    chain.lead(
        &format!(
            "-m conntrack --ctstate NEW -m set --match-set {external} dst -m set ! --match-set {own} dst"
        ),
        "-g",
        REJECT,
    );
    for node_port in inputs.node_port_matches("-i lo") {
        let refused = |role| {
            let set = inputs.set(role);
            format!("{node_port} -m conntrack --ctstate NEW -m set --match-set {set} dst,dst")
        };
        chain.rule(format_args!("{} -j DROP", refused(Role::NodePortDrop)));
        chain.lead(&refused(Role::NodePortReject), "-g", REJECT);
    }
    chain
}

fn forward(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(FORWARD);
    if !inputs.settings.tcp_be_liberal {
        // A packet out of conntrack's window would leave untranslated, and the answer to it resets the connection.
        chain.rule(format_args!("-m conntrack --ctstate INVALID -j DROP"));
    }
    chain.rule(format_args!(
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    ));
    guard_localhost(inputs, &mut chain);
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    chain.rule(format_args!("-m mark --mark {} -j ACCEPT", inputs.mark()));
    chain
}

/// Accepts what was translated where nobody before decided; matters where the policy of FORWARD is DROP.
fn forward_last() -> Chain {
    let mut chain = Chain::new(FORWARD_LAST);
    chain.rule(format_args!("-m conntrack --ctstate DNAT -j ACCEPT"));
    chain
}

fn output(_: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(OUTPUT);
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    chain
}

/// New connections that are still addressed to a frontend: nobody translated them.
fn refuse(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(REFUSE);
    let guarded = inputs.set(Role::Guarded);
    let allowed = inputs.set(Role::Allowed);
    let drop = inputs.set(Role::Drop);
    let reject = inputs.set(Role::Reject);
    chain.rule(format_args!(
        "-m set --match-set {guarded} dst,dst -m set ! --match-set {allowed} dst,dst,src -j DROP"
    ));
    chain.rule(format_args!("-m set --match-set {drop} dst,dst -j DROP"));
    chain.lead(
        &format!("-m set --match-set {reject} dst,dst"),
        "-g",
        REJECT,
    );
    let own = inputs.set(Role::OwnIp);
    let cluster = inputs.set(Role::ClusterIp);
    chain.lead(
        &format!("-m set --match-set {cluster} dst -m set ! --match-set {own} dst"),
        "-g",
        REJECT,
    );
    chain
}

/// TCP gets a reset: an ICMP error is dropped while a local `connect()` holds the socket.
fn reject(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(REJECT);
    let unreachable = match inputs.family {
        Family::V4 => "icmp-port-unreachable",
        Family::V6 => "icmp6-port-unreachable",
    };
    chain.rule(format_args!("-p tcp -j REJECT --reject-with tcp-reset"));
    for protocol in [Protocol::Udp, Protocol::Sctp] {
        chain.rule(format_args!(
            "-p {protocol} -j REJECT --reject-with {unreachable}"
        ));
    }
    chain
}

/// CVE-2020-8558: with `route_localnet` on, a neighbour could reach the node's loopback services.
fn guard_localhost(inputs: &Inputs<'_>, chain: &mut Chain) {
    if inputs.serves_localhost() {
        chain.rule(format_args!(
            "! -i lo -m conntrack --ctstate NEW --ctorigdst 127.0.0.0/8 -j DROP"
        ));
    }
}
