//! Everything of ours that a kernel, or its twin in memory, holds.

use std::collections::BTreeMap;
use std::fmt;

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{AddressSets, Entry, MemorySets, SetKind};
use sluice_kernel::conntrack::MemoryConntrack;
use sluice_kernel::iptables::{Family, Iptables, MemoryIptables, Table, Variant, canonical};
use sluice_kernel::ipvs::MemoryIpvs;
use sluice_kernel::links::MemoryLinks;
use sluice_service_plan::plan::Plan;

use super::CliError;
use crate::data_plane::DataPlane;
use crate::node_plane::{Doors, MemoryIpvsDoor, NodePlane};

/// All chains and sets of ours start so.
pub(super) const OURS: &str = "SLUICE-";

/// One chain or set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    /// An address set.
    Set {
        /// Name.
        name: String,
    },
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

/// Chains with their rules, sets with their type and entries.
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
        let ipvs = MemoryIpvs::new();
        let doors = Doors {
            iptables: Box::new(iptables.clone()),
            glue_sets: Box::new(sets.clone()),
            affinity_sets: Box::new(sets.clone()),
            conntrack: Box::new(MemoryConntrack::new()),
            ipvs: Box::new(MemoryIpvsDoor {
                ipvs: ipvs.clone(),
                links: MemoryLinks::new(),
                sets: sets.clone(),
                families: families.to_vec(),
            }),
        };
        NodePlane::new(doors, families, mode).reconcile(plan)?;
        Self::read(&mut iptables, &mut sets, families)
    }

    /// What stands behind these doors.
    pub(super) fn read(
        iptables: &mut dyn Iptables,
        sets: &mut dyn AddressSets,
        families: &[Family],
    ) -> Result<Self, CliError> {
        let mut objects = BTreeMap::new();
        for family in families {
            for table in Table::ALL {
                for chain in iptables.save(*family, table, &|_| true)?.chains {
                    let ours = chain.name.starts_with(OURS);
                    let rules: Vec<String> = chain
                        .rules
                        .iter()
                        .filter(|rule| ours || rule.contains(OURS))
                        .map(|rule| canonical(rule).into_owned())
                        .collect();
                    if ours || !rules.is_empty() {
                        let object = Object::Chain {
                            family: *family,
                            table,
                            name: chain.name,
                        };
                        objects.insert(object, rules);
                    }
                }
            }
        }
        for header in sets.headers(OURS)? {
            let spec = header.spec;
            if spec.kind != SetKind::BitmapPort && !families.contains(&spec.family) {
                continue;
            }
            let mut lines = vec![describe(&spec.name, spec.kind, spec.timeout_seconds)];
            // Entries with a lifetime are the kernel's own notes of clients.
            if spec.timeout_seconds.is_none() {
                let mut entries: Vec<Entry> = sets
                    .list(&spec.name)?
                    .into_iter()
                    .map(|listed| listed.entry)
                    .collect();
                entries.sort_unstable();
                lines.extend(
                    entries
                        .iter()
                        .map(|e| format!("add {} {}", spec.name, words(e))),
                );
            }
            objects.insert(Object::Set { name: spec.name }, lines);
        }
        Ok(Self { objects })
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

fn describe(name: &str, kind: SetKind, timeout_seconds: Option<u32>) -> String {
    let timeout = timeout_seconds
        .map(|s| format!(" timeout {s}"))
        .unwrap_or_default();
    format!("create {name} {kind}{timeout}")
}

/// An entry as ipset(8) writes it.
fn words(entry: &Entry) -> String {
    let protocol = |number: u8| match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    };
    match entry {
        Entry::Ip(ip) => ip.to_string(),
        Entry::Net(net) => net.to_string(),
        Entry::IpPort(ip, p, port) => format!("{ip},{}:{port}", protocol(p.0)),
        Entry::NetPort(net, p, port) => format!("{net},{}:{port}", protocol(p.0)),
        Entry::IpPortIp(ip, p, port, other) => format!("{ip},{}:{port},{other}", protocol(p.0)),
        Entry::IpPortNet(ip, p, port, net) => format!("{ip},{}:{port},{net}", protocol(p.0)),
        Entry::Port(port) => port.to_string(),
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { name } => write!(f, "set {name}"),
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

/// The family in words.
pub(super) fn family_words(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Sets as `ipset restore` reads them, tables as `iptables-restore` does.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Option<(Family, Table)> = None;
        for (object, lines) in &self.objects {
            match object {
                Object::Set { .. } => {
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
