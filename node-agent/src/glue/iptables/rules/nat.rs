//! The nat table: who gets a source of this node, and what is for IPVS.

use sluice_service_plan::model::Protocol;

use super::source_nat::source_nat;
use super::{
    IPVS, IPVS_OWN, IPVS_REFUSE, IPVS_TURN, IPVS_VIP, Inputs, MARK, MARK_NODE_PORT, MARKED,
    POSTROUTING, SOURCE_NAT, pod_classes,
};
use crate::glue::IpvsPart;
use crate::glue::membership::Role;
use crate::ruleset::{Chain, Jump, Place};

const SOURCE_NAT_JUMP: Jump = Jump {
    from: "POSTROUTING",
    to: POSTROUTING,
    comment: "sluice: source NAT of service traffic",
    place: Place::First,
};

const IPVS_JUMPS: [Jump; 2] = [
    Jump {
        from: "PREROUTING",
        to: IPVS,
        comment: "sluice: services by IPVS",
        place: Place::First,
    },
    Jump {
        from: "OUTPUT",
        to: IPVS,
        comment: "sluice: services by IPVS",
        place: Place::First,
    },
];

/// IPVS sees the node's own packets before the filter table does.
const REFUSE_JUMP: Jump = Jump {
    from: "OUTPUT",
    to: IPVS_REFUSE,
    comment: "sluice: refused before IPVS sees it",
    place: Place::First,
};

pub(super) fn jumps(inputs: &Inputs<'_>) -> Vec<Jump> {
    let mut jumps = vec![SOURCE_NAT_JUMP];
    match inputs.ipvs {
        IpvsPart::None => {}
        IpvsPart::Old => jumps.push(REFUSE_JUMP),
        IpvsPart::New => jumps.extend(IPVS_JUMPS),
    }
    jumps
}

pub(super) fn chains(inputs: &Inputs<'_>) -> Vec<Chain> {
    let mut chains = vec![
        mark(inputs),
        mark_node_port(inputs),
        postrouting(inputs),
        marked(inputs),
        source_nat(inputs),
    ];
    chains.extend(pod_classes::chains(inputs));
    if inputs.ipvs != IpvsPart::None {
        chains.extend([ipvs_refuse(inputs), ipvs_turn(inputs)]);
    }
    if inputs.ipvs == IpvsPart::New {
        chains.extend([ipvs(inputs), ipvs_vip(), ipvs_own()]);
    }
    chains
}

/// Packets that IPVS will take. They are accepted here, so that no later rule for the node's own addresses (a host port's)
/// translates them.
fn ipvs(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(IPVS);
    inputs.leave_excluded(&mut chain);
    chain.lead("-m addrtype --src-type LOCAL", "-j", IPVS_REFUSE);
    let own = inputs.set(Role::OwnIp);
    for role in [Role::ClusterIp, Role::ExternalIp] {
        let set = inputs.set(role);
        let vip = format!("-m set --match-set {set} dst -m set ! --match-set {own} dst");
        chain.lead(&vip, "-g", IPVS_VIP);
    }
    for set in [inputs.virtual_servers(), inputs.inside_marks()] {
        chain.lead(&format!("-m set --match-set {set} dst,dst"), "-g", IPVS_OWN);
    }
    for matches in inputs.refused_matches() {
        chain.rule(format_args!("{matches} -j ACCEPT"));
    }
    chain
}

fn ipvs_vip() -> Chain {
    let mut chain = Chain::new(IPVS_VIP);
    chain.lead("", "-j", MARK);
    chain.rule(format_args!("-j ACCEPT"));
    chain
}

/// Addresses that the node owns.
fn ipvs_own() -> Chain {
    let mut chain = Chain::new(IPVS_OWN);
    chain.lead("", "-j", MARK);
    chain.lead("", "-j", MARK_NODE_PORT);
    chain.rule(format_args!("-j ACCEPT"));
    chain
}

/// The node's own packets to a frontend that is to be refused, though its virtual server still has old connections.
fn ipvs_refuse(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(IPVS_REFUSE);
    let reject = inputs.set(Role::Reject);
    let node_ports = inputs.set(Role::NodePortReject);
    chain.lead(
        &format!("-m set --match-set {reject} dst,dst"),
        "-g",
        IPVS_TURN,
    );
    for node_port in inputs.node_port_matches("-o lo") {
        chain.lead(
            &format!("{node_port} -m set --match-set {node_ports} dst,dst"),
            "-g",
            IPVS_TURN,
        );
    }
    chain
}

/// Turned to loopback, where no virtual server is, they reach the filter table.
fn ipvs_turn(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(IPVS_TURN);
    chain.rule(format_args!("-j MARK --set-xmark {}", inputs.mark()));
    for protocol in Protocol::ALL {
        chain.rule(format_args!("-p {protocol} -j REDIRECT"));
    }
    chain
}

fn mark(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARK);
    pod_classes::before_mark(inputs, &mut chain);
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
    pod_classes::before_mark_node_port(inputs, &mut chain);
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
    if inputs.ipvs != IpvsPart::None {
        chain.lead(
            &format!("-m ipvs --ipvs -m set --match-set {hairpin} dst,dst,src"),
            "-g",
            SOURCE_NAT,
        );
        // The node took the service address itself for a source: its answer would never come back.
        let addresses = inputs.virtual_addresses();
        for translated in ["-m ipvs --ipvs", "-m conntrack --ctstate DNAT"] {
            chain.lead(
                &format!("{translated} -m set --match-set {addresses} src"),
                "-g",
                SOURCE_NAT,
            );
        }
    }
    pod_classes::not_marked(inputs, &mut chain);
    chain
}

fn marked(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARKED);
    let bit = 1u32 << inputs.settings.mark_bit;
    chain.rule(format_args!("-j MARK --set-xmark 0x0/{bit:#x}"));
    let keep = inputs.set(Role::KeepSource);
    // With a loopback source it would get nowhere.
    let leaves = if inputs.serves_localhost() {
        "! -s 127.0.0.0/8 "
    } else {
        ""
    };
    chain.rule(format_args!(
        "{leaves}-m set --match-set {keep} dst -j RETURN"
    ));
    pod_classes::marked(inputs, &mut chain);
    chain.lead("", "-j", SOURCE_NAT);
    chain
}
