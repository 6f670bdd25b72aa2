//! Everything of ours that a kernel, or its twin in memory, holds.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{
    AddressSets, Entry, IpProtocol, ListedEntry, MemorySets, SetKind, SetSpec,
};
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{Family, Iptables, MemoryIptables, Table, Variant, canonical};
use sluice_kernel::ipvs::{MemoryIpvs, VirtualServer};
use sluice_kernel::links::{InterfaceAddress, Link, Links, MemoryLinks};
use sluice_service_plan::model::NodeFacts;
use sluice_service_plan::plan::Plan;

use super::CliError;
use super::ipvs_words::{binding_lines, restore_lines};
use crate::balancer::ipvs::readback::{Readback, ServerKey};
use crate::data_plane::DataPlane;
use crate::family::family_words;
use crate::glue::membership::is_filled_by_others;
use crate::node_plane::{Doors, MemoryIpvsDoor, NodePlane};

/// All chains and sets of ours start so.
pub(super) const OURS: &str = "SLUICE-";

/// One chain, set, virtual server or service address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    /// An address set.
    Set {
        /// Name.
        name: String,
    },
    /// A service address that is taken as the node's.
    Vip(IpAddr),
    /// A virtual server with its real servers.
    VirtualServer(ServerKey),
    /// A chain; of a built-in one only the rules that lead to ours count.
    Chain {
        /// Family.
        family: Family,
        /// Table.
        table: Table,
        /// Name.
        name: String,
    },
}

/// Chains with their rules, sets with their type and entries, virtual servers with their real servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Snapshot {
    objects: BTreeMap<Object, Vec<String>>,
}

impl Snapshot {
    /// What programming this plan into an empty kernel gives: the very data plane, on doors in memory.
    pub(super) fn of_plan(
        plan: &Plan,
        variant: Variant,
        mode: ActiveMode,
        families: &[Family],
    ) -> Result<Self, CliError> {
        let (mut iptables, mut sets) = (MemoryIptables::new(variant), MemorySets::new());
        let (mut ipvs, mut links) = (MemoryIpvs::new(), links_of(&plan.node)?);
        let doors = Doors {
            iptables: Box::new(iptables.clone()),
            glue_sets: Box::new(sets.clone()),
            affinity_sets: Box::new(sets.clone()),
            conntrack: Box::new(MemoryConntrack::new()),
            ipvs: Box::new(MemoryIpvsDoor {
                ipvs: ipvs.clone(),
                links: links.clone(),
                sets: sets.clone(),
                families: families.to_vec(),
            }),
        };
        NodePlane::new(doors, families, mode).reconcile(plan)?;
        let ledger = Box::new(sets.clone());
        let balanced = Readback::read(ledger, Some(&mut ipvs), &mut links, families)?;
        Self::read(&mut iptables, &mut sets, &balanced, families)
    }

    /// What stands behind these doors, and what of IPVS is ours.
    pub(super) fn read(
        iptables: &mut dyn Iptables,
        sets: &mut dyn AddressSets,
        balanced: &Readback,
        families: &[Family],
    ) -> Result<Self, CliError> {
        let mut snapshot = Self::default();
        for family in families {
            snapshot.read_chains(iptables, *family)?;
        }
        snapshot.read_sets(sets, families)?;
        for (key, held) in &balanced.servers {
            let lines = restore_lines(held);
            if !lines.is_empty() {
                snapshot.objects.insert(Object::VirtualServer(*key), lines);
            }
        }
        for (ip, binding) in &balanced.bindings {
            let lines = binding_lines(*ip, *binding);
            snapshot.objects.insert(Object::Vip(*ip), lines);
        }
        Ok(snapshot)
    }

    fn read_chains(&mut self, iptables: &mut dyn Iptables, family: Family) -> Result<(), CliError> {
        for table in Table::ALL {
            for chain in iptables.save(family, table, &|_| true)?.chains {
                let ours = chain.name.starts_with(OURS);
                let rules: Vec<String> = chain
                    .rules
                    .iter()
                    .filter(|rule| ours || rule.contains(OURS))
                    .map(|rule| canonical(rule).into_owned())
                    .collect();
                if ours || !rules.is_empty() {
                    let object = Object::Chain {
                        family,
                        table,
                        name: chain.name,
                    };
                    self.objects.insert(object, rules);
                }
            }
        }
        Ok(())
    }

    fn read_sets(
        &mut self,
        sets: &mut dyn AddressSets,
        families: &[Family],
    ) -> Result<(), CliError> {
        for header in sets.headers(OURS)? {
            let spec = header.spec;
            if spec.kind != SetKind::BitmapPort && !families.contains(&spec.family) {
                continue;
            }
            let mut lines = vec![describe(&spec)];
            // Entries with a lifetime are the kernel's own notes of clients, and pods are put into their sets by the CNI plugin.
            if spec.timeout_seconds.is_none() && !is_filled_by_others(&spec.name) {
                let mut entries = sets.list(&spec.name)?;
                entries.sort_unstable_by_key(|listed| listed.entry);
                lines.extend(
                    entries
                        .iter()
                        .map(|listed| format!("add {} {}", spec.name, listed_words(listed))),
                );
            }
            self.objects.insert(Object::Set { name: spec.name }, lines);
        }
        Ok(())
    }

    /// All objects with their lines.
    pub(super) fn objects(&self) -> &BTreeMap<Object, Vec<String>> {
        &self.objects
    }

    /// The rules of a chain of the nat table.
    pub(super) fn nat_chain(&self, family: Family, name: &str) -> Option<&[String]> {
        let object = Object::Chain {
            family,
            table: Table::Nat,
            name: name.to_owned(),
        };
        self.objects.get(&object).map(Vec::as_slice)
    }

    /// Whether a set has an entry, written as ipset writes it.
    pub(super) fn set_has(&self, name: &str, entry: &str) -> bool {
        let line = format!("add {name} {entry}");
        self.objects
            .get(&Object::Set {
                name: name.to_owned(),
            })
            .is_some_and(|lines| lines.contains(&line))
    }
}

/// The node's addresses: a route may name no other as its source.
fn links_of(node: &NodeFacts) -> Result<MemoryLinks, CliError> {
    const INDEX: u32 = 1;
    let mut links = MemoryLinks::new();
    links.put_link(Link {
        index: INDEX,
        name: "node".to_owned(),
        kind: None,
        up: true,
        master: None,
        hairpin: None,
    });
    for ip in &node.addresses {
        links.add_address(&InterfaceAddress {
            interface: INDEX,
            address: *ip,
            prefix_len: IpNet::from(*ip).max_prefix_len(),
        })?;
    }
    Ok(links)
}

fn describe(spec: &SetSpec) -> String {
    let timeout = spec
        .timeout_seconds
        .map(|s| format!(" timeout {s}"))
        .unwrap_or_default();
    let marks = if spec.marks { " skbinfo" } else { "" };
    format!("create {} {}{timeout}{marks}", spec.name, spec.kind)
}

/// An entry with its mark, as ipset(8) writes it.
fn listed_words(listed: &ListedEntry) -> String {
    let mark = listed
        .mark
        .map(|mark| format!(" skbmark {:#x}/{:#x}", mark.value, mark.mask))
        .unwrap_or_default();
    words(&listed.entry) + &mark
}

/// An entry as ipset(8) writes it.
pub(super) fn words(entry: &Entry) -> String {
    match entry {
        Entry::Ip(ip) => ip.to_string(),
        Entry::Net(net) => net.to_string(),
        Entry::IpPort(ip, p, port) => format!("{ip},{}:{port}", protocol_words(*p)),
        Entry::NetPort(net, p, port) => format!("{net},{}:{port}", protocol_words(*p)),
        Entry::IpPortIp(ip, p, port, other) => {
            format!("{ip},{}:{port},{other}", protocol_words(*p))
        }
        Entry::IpPortNet(ip, p, port, net) => format!("{ip},{}:{port},{net}", protocol_words(*p)),
        Entry::Port(port) => port.to_string(),
    }
}

/// The protocol's name, or its number.
pub(super) fn protocol_words(protocol: IpProtocol) -> String {
    match protocol {
        IpProtocol::TCP => "tcp".to_owned(),
        IpProtocol::UDP => "udp".to_owned(),
        IpProtocol::SCTP => "sctp".to_owned(),
        IpProtocol(other) => other.to_string(),
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { name } => write!(f, "set {name}"),
            Self::Vip(ip) => write!(f, "service address {ip}"),
            Self::VirtualServer(key) => match key.server {
                VirtualServer::Address { .. } => write!(f, "virtual server {}", key.server),
                VirtualServer::Mark { .. } => {
                    let protocol = protocol_words(key.protocol);
                    write!(f, "virtual server {} for {protocol}", key.server)
                }
            },
            Self::Chain {
                family,
                table,
                name,
            } => {
                write!(f, "chain {name} of {} {table}", family_words(*family))
            }
        }
    }
}

/// Sets as `ipset restore` reads them, service addresses as `ip -batch` does, virtual servers as `ipvsadm --restore`, tables as
/// `iptables-restore`.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Option<(Family, Table)> = None;
        for (object, lines) in &self.objects {
            match object {
                Object::Set { .. } | Object::Vip(_) | Object::VirtualServer(_) => {
                    for line in lines {
                        writeln!(f, "{line}")?;
                    }
                }
                Object::Chain {
                    family,
                    table,
                    name,
                } => {
                    if open != Some((*family, *table)) {
                        if open.is_some() {
                            writeln!(f, "COMMIT")?;
                        }
                        writeln!(f, "# {}\n*{table}", family_words(*family))?;
                        open = Some((*family, *table));
                    }
                    if name.starts_with(OURS) {
                        writeln!(f, ":{name} - [0:0]")?;
                    }
                    for rule in lines {
                        writeln!(f, "-A {name} {rule}")?;
                    }
                }
            }
        }
        if open.is_some() {
            writeln!(f, "COMMIT")?;
        }
        Ok(())
    }
}
