//! Rules for pods of a class. Whether a packet is to a service is known where packets are marked, by which interface it leaves only later:
//! a class of one interface therefore takes every translated packet for one to a service.

use std::net::IpAddr;

use sluice_service_plan::model::{Family, LocalDetector, PodAction, PodClass};
use sluice_service_plan::source::held_addresses;

use super::source_nat::translate;
use super::{Inputs, POD_PREFIX, SOURCE_NAT};
use crate::glue::IpvsPart;
use crate::glue::membership::Role;
use crate::glue::pod_classes::{ClassKey, ruled};
use crate::ruleset::Chain;

/// Marks what pods of a class that masquerades send to a service address.
pub(super) const MARK_POD: &str = "SLUICE-MARK-POD";

/// All chains of classes but those that every packet to a service passes.
pub(super) fn chains(inputs: &Inputs<'_>) -> Vec<Chain> {
    if inputs.settings.pod_classes.is_empty() {
        return Vec::new();
    }
    let mut chains = vec![mark_pod(inputs)];
    for (key, class) in ruled(inputs.settings) {
        if decides_unmarked(class) {
            chains.push(unmarked(inputs, key, class));
        }
        let addresses = addresses(inputs, class);
        if !addresses.is_empty() {
            let mut chain = Chain::new(own_addresses(key));
            translate(inputs, &addresses, &mut chain);
            chains.push(chain);
        }
    }
    chains
}

/// At the head of the chain that marks what goes to a service address.
pub(super) fn before_mark(inputs: &Inputs<'_>, chain: &mut Chain) {
    if inputs.settings.pod_classes.is_empty() {
        return;
    }
    keep(inputs, chain);
    let masquerade = inputs.set(Role::PodMasquerade);
    chain.lead(
        &format!("-m set --match-set {masquerade} src"),
        "-g",
        MARK_POD,
    );
}

/// The same for node ports.
pub(super) fn before_mark_node_port(inputs: &Inputs<'_>, chain: &mut Chain) {
    if inputs.settings.pod_classes.is_empty() {
        return;
    }
    keep(inputs, chain);
    let (masquerade, node_ports) = (
        inputs.set(Role::PodMasquerade),
        inputs.set(Role::NodePortMasqueradeNode),
    );
    let mark = inputs.mark();
    chain.rule(format_args!(
        "-m set --match-set {masquerade} src -m set --match-set {node_ports} dst,dst -j MARK --set-xmark {mark}"
    ));
}

fn keep(inputs: &Inputs<'_>, chain: &mut Chain) {
    let preserve = inputs.set(Role::PodPreserve);
    chain.rule(format_args!("-m set --match-set {preserve} src -j RETURN"));
}

fn mark_pod(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(MARK_POD);
    let mark = inputs.mark();
    for role in [
        Role::Masquerade,
        Role::MasqueradeOutside,
        Role::MasqueradeNode,
    ] {
        let set = inputs.set(role);
        chain.rule(format_args!(
            "-m set --match-set {set} dst,dst -j MARK --set-xmark {mark}"
        ));
    }
    chain
}

/// Of what is marked, in the chain that gives it a source: that of a class first.
pub(super) fn marked(inputs: &Inputs<'_>, chain: &mut Chain) {
    let classes = ruled(inputs.settings);
    let mut classes = classes
        .into_iter()
        .filter_map(|(key, class)| match &class.action {
            PodAction::Preserve if class.out_interface.is_some() => Some((key, class, "")),
            PodAction::Snat(_) => Some((key, class, "-g")),
            PodAction::Preserve | PodAction::Masquerade => None,
        })
        .peekable();
    if classes.peek().is_some() {
        // Whoever reaches itself is masqueraded as all are.
        let hairpin = inputs.set(Role::Hairpin);
        chain.lead(
            &format!("-m set --match-set {hairpin} dst,dst,src"),
            "-g",
            SOURCE_NAT,
        );
    }
    for (key, class, how) in classes {
        let matches = matches(inputs, key, class);
        if how.is_empty() {
            chain.rule(format_args!("{matches} -j RETURN"));
        } else {
            chain.lead(&matches, how, &source_of(inputs, key, class));
        }
    }
}

/// Of what is not marked, after everything else: what classes want of it.
pub(super) fn not_marked(inputs: &Inputs<'_>, chain: &mut Chain) {
    for (key, class) in ruled(inputs.settings) {
        if decides_unmarked(class) {
            chain.lead(&matches(inputs, key, class), "-g", &own(key));
        }
    }
}

fn decides_unmarked(class: &PodClass) -> bool {
    class.egress || (class.out_interface.is_some() && class.action != PodAction::Preserve)
}

fn unmarked(inputs: &Inputs<'_>, key: ClassKey, class: &PodClass) -> Chain {
    let mut chain = Chain::new(own(key));
    let leave = |chain: &mut Chain, matches: &str| chain.rule(format_args!("{matches} -j RETURN"));
    let to = |role| format!("-m set --match-set {} dst", inputs.set(role));
    leave(&mut chain, &to(Role::KeepSource));
    let source = source_of(inputs, key, class);
    if class.out_interface.is_some() && class.action != PodAction::Preserve {
        chain.lead("-m conntrack --ctstate DNAT", "-g", &source);
        if inputs.ipvs != IpvsPart::None {
            chain.lead("-m ipvs --ipvs", "-g", &source);
        }
    }
    if !class.egress {
        return chain;
    }
    match &inputs.settings.detect_local {
        LocalDetector::None => {}
        LocalDetector::Cidrs(_) => leave(&mut chain, &to(Role::Pods)),
        LocalDetector::BridgeInterface(name) => leave(&mut chain, &format!("-o {name}")),
        LocalDetector::InterfaceNamePrefix(prefix) => leave(&mut chain, &format!("-o {prefix}+")),
    }
    let pods = inputs.node.pod_cidrs.iter();
    for net in pods.filter(|net| Family::of_net(net) == inputs.family) {
        leave(&mut chain, &format!("-d {net}"));
    }
    for role in [Role::ClusterIp, Role::ExternalIp] {
        leave(&mut chain, &to(role));
    }
    if class.action == PodAction::Preserve {
        // No rule of another program is to change it.
        chain.rule(format_args!("-j ACCEPT"));
    } else {
        chain.lead("", "-j", &source);
    }
    chain
}

/// Matches what pods of the class send.
fn matches(inputs: &Inputs<'_>, key: ClassKey, class: &PodClass) -> String {
    let set = inputs.set(Role::PodClass(key));
    // iptables-save prints interfaces before matches.
    let by = class.out_interface.as_ref();
    let by = by.map(|name| format!("-o {name} ")).unwrap_or_default();
    format!("{by}-m set --match-set {set} src")
}

/// The chain that gives packets of the class a source of the node.
fn source_of(inputs: &Inputs<'_>, key: ClassKey, class: &PodClass) -> String {
    if addresses(inputs, class).is_empty() {
        SOURCE_NAT.to_owned()
    } else {
        own_addresses(key)
    }
}

fn addresses(inputs: &Inputs<'_>, class: &PodClass) -> Vec<IpAddr> {
    match &class.action {
        PodAction::Snat(networks) => held_addresses(networks, inputs.family, inputs.node),
        PodAction::Preserve | PodAction::Masquerade => Vec::new(),
    }
}

fn own(key: ClassKey) -> String {
    format!("{POD_PREFIX}{key}")
}

fn own_addresses(key: ClassKey) -> String {
    format!("{POD_PREFIX}S-{key}")
}
