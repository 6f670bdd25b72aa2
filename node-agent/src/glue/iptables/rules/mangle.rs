//! The mangle table: marks for IPVS, which tells by them clients that have a pool of their own.

use super::{INSIDE, INSIDE_NODE, Inputs};
use crate::glue::IpvsPart;
use crate::glue::membership::Role;
use crate::ruleset::{Chain, Jump, Place};

const JUMPS: [Jump; 2] = [
    Jump {
        from: "PREROUTING",
        to: INSIDE,
        comment: "sluice: service traffic of local pods",
        place: Place::First,
    },
    Jump {
        from: "OUTPUT",
        to: INSIDE_NODE,
        comment: "sluice: service traffic of the node itself",
        place: Place::First,
    },
];

pub(super) fn jumps(inputs: &Inputs<'_>) -> Vec<Jump> {
    if inputs.ipvs == IpvsPart::New {
        JUMPS.to_vec()
    } else {
        Vec::new()
    }
}

pub(super) fn chains(inputs: &Inputs<'_>) -> Vec<Chain> {
    if inputs.ipvs == IpvsPart::New {
        vec![inside(inputs), inside_node(inputs)]
    } else {
        Vec::new()
    }
}

fn inside(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(INSIDE);
    if let Some(inside) = inputs.inside_match() {
        let new = "-m conntrack --ctstate NEW";
        // iptables-save prints interfaces before matches.
        let matches = if inside.starts_with("-i") {
            format!("{inside} {new}")
        } else {
            format!("{new} {inside}")
        };
        chain.rule(format_args!(
            "{matches} -j SET --map-set {} dst,dst --map-mark",
            inputs.inside_marks()
        ));
    }
    chain
}

/// Here too what must be dropped is dropped before IPVS, which sees the node's own packets before the filter table does.
fn inside_node(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(INSIDE_NODE);
    inputs.leave_excluded(&mut chain);
    let new = "-m conntrack --ctstate NEW";
    let (guarded, allowed) = (inputs.set(Role::Guarded), inputs.set(Role::Allowed));
    chain.rule(format_args!(
        "{new} -m set --match-set {guarded} dst,dst -m set ! --match-set {allowed} dst,dst,src -j DROP"
    ));
    let marks = inputs.inside_marks();
    chain.rule(format_args!(
        "{new} -j SET --map-set {marks} dst,dst --map-mark"
    ));
    let unmarked = format!("{new} -m mark ! --mark {}", inputs.inside_mark());
    let drop = inputs.set(Role::Drop);
    chain.rule(format_args!(
        "{unmarked} -m set --match-set {drop} dst,dst -j DROP"
    ));
    let node_port_drop = inputs.set(Role::NodePortDrop);
    for node_port in inputs.node_port_matches("-o lo") {
        chain.rule(format_args!(
            "{node_port} {unmarked} -m set --match-set {node_port_drop} dst,dst -j DROP"
        ));
    }
    chain
}
