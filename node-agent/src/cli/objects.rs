//! Which kernel objects do a step of a trace.

use std::net::IpAddr;

use sluice_kernel::iptables::Family;
use sluice_service_plan::packet::{Packet, Side};
use sluice_service_plan::plan::FrontendKind;
use sluice_service_plan::trace::{Step, Trace};

use super::ipvs_objects::IpvsObjects;
use super::nat_rule::Rule;
use super::snapshot::{OURS, Object, Snapshot};
use crate::glue::membership::{Role, SetId};

/// The objects, as lines for people.
pub(super) fn objects_of(
    step: &Step,
    packet: &Packet,
    trace: &Trace,
    programmed: &Snapshot,
) -> Vec<String> {
    let look = Look {
        packet,
        programmed,
        family: if packet.destination.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        },
        node_port: trace.steps.iter().any(|step| {
            matches!(
                step,
                Step::Frontend {
                    kind: FrontendKind::NodePort,
                    ..
                }
            )
        }),
    };
    match step {
        Step::ForeignLoopback { .. } => look.rules_with(&["127.0.0.0/8", "DROP"]),
        Step::Excluded { .. } => look.rules_with(&[&look.set(Role::Excluded)]),
        Step::Frontend { kind, .. } => {
            let roles: &[Role] = match kind {
                FrontendKind::ClusterIp => &[Role::ClusterIp],
                FrontendKind::NodePort => &[Role::OwnIp, Role::NodePortIp],
                FrontendKind::ExternalIp | FrontendKind::LoadBalancer => &[Role::ExternalIp],
            };
            let mut found = look.memberships(roles);
            let host = format!("-d {} ", ipnet::IpNet::from(packet.destination.ip()));
            found.extend(look.of_way(&["--dport", &host]));
            found.extend(look.ipvs().frontend());
            found
        }
        Step::SourceRanges { .. } => look.memberships(&[Role::Guarded, Role::Allowed]),
        Step::Pool {
            side,
            depends_on_side,
            ..
        } => {
            let mut found = look.of_way(&["-m statistic", "DNAT"]);
            found.extend(look.ipvs().pool(*depends_on_side && *side != Side::Outside));
            found
        }
        Step::Refused { .. } | Step::UnlistedPort { .. } | Step::ClosedPort { .. } => look
            .memberships(&[
                Role::Drop,
                Role::Reject,
                Role::NodePortDrop,
                Role::NodePortReject,
                Role::ClusterIp,
            ]),
        Step::Affinity { .. } => {
            let mut found = look.of_way(&["--match-set"]);
            found.extend(look.ipvs().persistence());
            found
        }
        Step::Masquerade { .. } => look.memberships(&[
            Role::Masquerade,
            Role::MasqueradeOutside,
            Role::MasqueradeNode,
            Role::NodePortMasquerade,
            Role::NodePortMasqueradeNode,
        ]),
        Step::Class { .. } => look.rules_with(&["-POD-", " src"]),
        Step::Hairpin { endpoint } => {
            let (ip, protocol) = (endpoint.ip(), packet.protocol);
            let entry = format!("{ip},{protocol}:{},{ip}", endpoint.port());
            look.entry(Role::Hairpin, &entry).into_iter().collect()
        }
        Step::KeepsSource { .. } => look.rules_with(&[&look.set(Role::KeepSource)]),
        Step::Health { destination } => {
            let mut found = look.memberships(&[Role::ExternalIp]);
            let port = format!("--dport {} ", destination.port());
            found.extend(look.rules_with(&[&port, &look.set(Role::ExternalIp)]));
            found
        }
        Step::NoFrontend { .. } => Vec::new(),
    }
}

/// Rules of one sort that are shown; the others look the same.
const FEW: usize = 3;

struct Look<'a> {
    packet: &'a Packet,
    programmed: &'a Snapshot,
    family: Family,
    node_port: bool,
}

impl Look<'_> {
    fn ipvs(&self) -> IpvsObjects<'_> {
        IpvsObjects {
            packet: self.packet,
            programmed: self.programmed,
        }
    }

    fn set(&self, role: Role) -> String {
        let family = match self.family {
            Family::V4 => sluice_service_plan::model::Family::V4,
            Family::V6 => sluice_service_plan::model::Family::V6,
        };
        SetId { role, family }.name()
    }

    fn entry(&self, role: Role, entry: &str) -> Option<String> {
        let name = self.set(role);
        self.programmed
            .set_has(&name, entry)
            .then(|| format!("set {name}: {entry}"))
    }

    /// Entries of these sets that the packet's destination hits.
    fn memberships(&self, roles: &[Role]) -> Vec<String> {
        let (ip, port) = (self.packet.destination.ip(), self.packet.destination.port());
        let by_port = format!("{}:{port}", self.packet.protocol);
        let mut found = Vec::new();
        for role in roles {
            let name = self.set(*role);
            let hit = self
                .entries(&name)
                .filter(|entry| hits(entry, ip, &by_port) && self.source_fits(entry));
            found.extend(hit.map(|entry| format!("set {name}: {entry}")));
        }
        found
    }

    fn entries<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        let lines = self.programmed.objects().get(&Object::Set {
            name: name.to_owned(),
        });
        let start = format!("add {name} ");
        lines
            .into_iter()
            .flatten()
            .filter_map(move |line| line.strip_prefix(start.as_str()))
    }

    /// Of a list of clients, only the networks that hold this one.
    fn source_fits(&self, entry: &str) -> bool {
        match entry.split(',').nth(2) {
            Some(network) => network
                .parse::<ipnet::IpNet>()
                .map_or(true, |net| net.contains(&self.packet.source)),
            None => true,
        }
    }

    /// The rules that the packet can meet from the root of the tree to those that translate, each with its chain.
    fn way(&self) -> Vec<(String, String)> {
        let root = if self.node_port {
            "SLUICE-NODEPORTS"
        } else {
            "SLUICE-FRONTENDS"
        };
        let protocol = self.packet.protocol.to_string();
        let mut way = Vec::new();
        let mut chains = vec![root.to_owned()];
        let mut next = 0;
        while let Some(chain) = chains.get(next).cloned() {
            next += 1;
            let rules = self.programmed.nat_chain(self.family, &chain);
            for text in rules.unwrap_or_default() {
                let rule = Rule::read(text);
                if !rule.is_for(&protocol, self.packet.destination) {
                    continue;
                }
                let to = rule.leads_to.filter(|to| to.starts_with(OURS));
                if let Some(to) = to.filter(|to| !chains.iter().any(|chain| chain == to)) {
                    chains.push(to.to_owned());
                }
                if to.is_some() || rule.translates_to.is_some() {
                    way.push((chain.clone(), text.clone()));
                }
            }
        }
        way
    }

    /// Those rules of the way that have one of these words; the first few, the others look the same.
    fn of_way(&self, words: &[&str]) -> Vec<String> {
        self.way()
            .iter()
            .filter(|(_, rule)| words.iter().any(|word| rule.contains(word)))
            .take(FEW)
            .map(|(chain, rule)| format!("nat {chain}: {rule}"))
            .collect()
    }

    fn rules_with(&self, words: &[&str]) -> Vec<String> {
        self.rules()
            .filter(|(_, rule)| words.iter().all(|word| rule.contains(word)))
            .map(|(chain, rule)| format!("{chain}: {rule}"))
            .collect()
    }

    fn rules(&self) -> impl Iterator<Item = (String, &str)> {
        self.programmed
            .objects()
            .iter()
            .flat_map(|(object, rules)| {
                let chain = match object {
                    Object::Chain { table, name, .. } => Some(format!("{table} {name}")),
                    Object::Set { .. } | Object::Vip(_) | Object::VirtualServer(_) => None,
                };
                chain
                    .into_iter()
                    .flat_map(|chain| rules.iter().map(move |rule| (chain.clone(), rule.as_str())))
            })
    }
}

/// Whether an entry is the address alone, or a network or address that holds it with the port.
fn hits(entry: &str, ip: IpAddr, by_port: &str) -> bool {
    let mut parts = entry.split(',');
    let address = parts.next().unwrap_or_default();
    let address_fits = match address.parse::<IpAddr>() {
        Ok(one) => one == ip,
        Err(_) => address
            .parse::<ipnet::IpNet>()
            .is_ok_and(|net| net.contains(&ip)),
    };
    address_fits && parts.next().is_none_or(|port| port == by_port)
}
