//! Our chains in one table of one family: what the kernel holds, and the edit that is being made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use sluice_kernel::iptables::Table;

use super::chain::Chain;
use super::held::{Held, HeldChain};

/// Every chain of ours starts so.
pub const PREFIX: &str = "SLUICE-";

/// A rule of ours in a built-in chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jump {
    /// Built-in chain.
    pub from: &'static str,
    /// The chain of ours that it leads to; a built-in chain has at most one jump to it.
    pub to: &'static str,
    /// What it is for, as the rule's comment.
    pub comment: &'static str,
    /// Where it stands.
    pub place: Place,
}

/// Where a jump stands among the rules of its built-in chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before the rules that are there.
    First,
    /// After them: acts only where no other rule decided.
    Last,
}

impl Jump {
    fn rule(&self) -> String {
        format!("-m comment --comment \"{}\" -j {}", self.comment, self.to)
    }
}

/// What we know of one chain.
#[derive(Debug, Clone)]
struct Known {
    digest: u64,
    rules: u32,
    targets: Vec<Box<str>>,
}

/// Our chains in one table of one family.
///
/// `put`, `put_jump` and their opposites make an edit; [`write_edit`](Self::write_edit) writes it down; [`settled`](Self::settled) says that the
/// kernel took it. After a failed commit the table must be loaded again.
#[derive(Debug)]
pub struct ChainTable {
    table: Table,
    known: HashMap<Box<str>, Known>,
    references: HashMap<Box<str>, u32>,
    /// Rules in built-in chains that lead to a chain of ours.
    jumps: Vec<(String, String)>,
    changed: BTreeMap<Box<str>, Chain>,
    removed: BTreeSet<Box<str>>,
    orphans: Vec<Box<str>>,
    jump_edits: Vec<String>,
    /// Rules written since [`take_written`](Self::take_written) was last called.
    written: u64,
    /// Present while everything is put again: what was put so far.
    seen: Option<BTreeSet<Box<str>>>,
}

impl ChainTable {
    /// A table in which nothing of ours is known to be.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            known: HashMap::new(),
            references: HashMap::new(),
            jumps: Vec::new(),
            changed: BTreeMap::new(),
            removed: BTreeSet::new(),
            orphans: Vec::new(),
            jump_edits: Vec::new(),
            written: 0,
            seen: None,
        }
    }

    /// Which table.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Takes over what the kernel holds, and forgets any edit.
    pub(super) fn load(&mut self, held: Held) {
        *self = Self::new(self.table);
        self.jumps = held.jumps;
        let known = held.chains.into_iter().map(|(name, chain)| {
            let known = Known {
                digest: chain.digest,
                rules: chain.rules,
                targets: Vec::new(),
            };
            (name, known)
        });
        self.known = known.collect();
    }

    /// What the kernel holds when the edit is committed.
    pub(super) fn held(&self) -> Held {
        let chains = self.known.iter().map(|(name, known)| {
            let chain = HeldChain {
                digest: known.digest,
                rules: known.rules,
            };
            (name.clone(), chain)
        });
        Held {
            chains: chains.collect(),
            jumps: self.jumps.clone(),
        }
    }

    /// From here on everything wanted is put again; [`finish_all`](Self::finish_all) removes the rest.
    pub fn begin_all(&mut self) {
        self.seen = Some(BTreeSet::new());
    }

    /// Removes the chains, and the jumps to them, that `owned` names and that were not put since [`begin_all`](Self::begin_all).
    pub fn finish_all(&mut self, owned: &dyn Fn(&str) -> bool) {
        let Some(seen) = self.seen.take() else { return };
        let stale: Vec<Box<str>> = self
            .known
            .keys()
            .filter(|name| owned(name) && !seen.contains(*name))
            .cloned()
            .collect();
        for name in stale {
            self.drop_jumps_to(&name);
            self.forget(&name);
        }
        // Chains that were put are wanted, if only for a jump, or for another owner's chains that come later.
        self.orphans
            .retain(|name| owned(name) && !seen.contains(name));
        self.drop_orphans();
    }

    /// Wants this chain with these rules. Nothing happens where it is so already.
    pub fn put(&mut self, chain: Chain) {
        let name: Box<str> = chain.name().into();
        if let Some(seen) = &mut self.seen {
            seen.insert(name.clone());
        }
        for target in chain.targets() {
            *self.references.entry(target.clone()).or_default() += 1;
        }
        let new = Known {
            digest: chain.digest(),
            rules: chain.rules(),
            targets: chain.targets().to_vec(),
        };
        let same = self
            .known
            .get(&name)
            .is_some_and(|known| known.digest == new.digest);
        if let Some(old) = self.known.insert(name.clone(), new) {
            self.release(old.targets);
        }
        if !same {
            self.removed.remove(&name);
            self.changed.insert(name, chain);
        }
    }

    /// The chain is there, or will be when the edit is committed.
    pub fn contains(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// A jump leads to one of these chains.
    pub fn leads_to(&self, chains: &[&str]) -> bool {
        let mut targets = self.jumps.iter().filter_map(|(_, rule)| target(rule));
        targets.any(|to| chains.contains(&to))
    }

    /// Wants this jump.
    pub fn put_jump(&mut self, jump: &Jump) {
        let rule = jump.rule();
        let mut there = false;
        let mut stale = Vec::new();
        self.jumps.retain(|(from, held)| {
            if from != jump.from || target(held) != Some(jump.to) {
                return true;
            }
            if *held == rule && !there {
                there = true;
                return true;
            }
            stale.push(format!("-D {from} {held}"));
            false
        });
        if !there {
            self.jump_edits.push(match jump.place {
                Place::First => format!("-I {} 1 {rule}", jump.from),
                Place::Last => format!("-A {} {rule}", jump.from),
            });
            self.jumps.push((jump.from.to_owned(), rule));
        }
        // A jump that is replaced goes after its successor is in.
        self.jump_edits.extend(stale);
    }

    /// Wants no jump to this chain.
    pub fn drop_jumps_to(&mut self, to: &str) {
        let edits = &mut self.jump_edits;
        self.jumps.retain(|(from, rule)| {
            let goes = target(rule) == Some(to);
            if goes {
                edits.push(format!("-D {from} {rule}"));
            }
            !goes
        });
    }

    /// Removes chains that no chain leads to any more since the edit began.
    pub fn drop_orphans(&mut self) {
        while let Some(name) = self.orphans.pop() {
            if self.references.get(&name).copied().unwrap_or(0) == 0 {
                self.references.remove(&name);
                self.forget(&name);
            }
        }
    }

    /// There is an edit to be committed.
    pub fn is_edited(&self) -> bool {
        !(self.changed.is_empty() && self.removed.is_empty() && self.jump_edits.is_empty())
    }

    /// Appends the edit as input for `iptables-restore --noflush`; nothing where there is none.
    pub fn write_edit(&self, out: &mut String) {
        if !self.is_edited() {
            return;
        }
        let size: usize = self
            .changed
            .values()
            .map(|chain| chain.text().len() + 48)
            .sum();
        out.reserve(size + 1024);
        let _ = writeln!(out, "*{}", self.table);
        for name in self.changed.keys().chain(&self.removed) {
            let _ = writeln!(out, ":{name} - [0:0]");
        }
        for chain in self.changed.values() {
            out.push_str(chain.text());
        }
        for edit in &self.jump_edits {
            out.push_str(edit);
            out.push('\n');
        }
        for name in &self.removed {
            let _ = writeln!(out, "-X {name}");
        }
        out.push_str("COMMIT\n");
    }

    /// The kernel took the edit.
    pub fn settled(&mut self) {
        let rules = self.changed.values().map(|chain| u64::from(chain.rules()));
        self.written += rules.sum::<u64>();
        self.changed.clear();
        self.removed.clear();
        self.jump_edits.clear();
    }

    /// What differs between what the kernel holds and what we know, in words.
    pub(super) fn compare(&self, held: Held) -> Vec<(String, String)> {
        let mut differences = Vec::new();
        let Held {
            chains: mut listed,
            mut jumps,
        } = held;
        for (name, known) in &self.known {
            match listed.remove(name) {
                None => differences.push((format!("chain {name}"), "is gone".to_owned())),
                Some(chain) if chain.digest != known.digest => {
                    differences.push((format!("chain {name}"), "holds other rules".to_owned()));
                }
                Some(_) => {}
            }
        }
        for name in listed.into_keys() {
            differences.push((format!("chain {name}"), "is not ours to have".to_owned()));
        }
        for (from, rule) in &self.jumps {
            if let Some(at) = jumps.iter().position(|(f, r)| f == from && r == rule) {
                jumps.swap_remove(at);
            } else {
                let to = target(rule).unwrap_or_default();
                differences.push((
                    format!("chain {from}"),
                    format!("has lost its jump to {to}"),
                ));
            }
        }
        for (from, rule) in jumps {
            let to = target(&rule).unwrap_or_default();
            differences.push((
                format!("chain {from}"),
                format!("has one jump too many to {to}"),
            ));
        }
        differences.sort();
        differences
    }

    /// Chains and rules of ours, jumps included.
    pub fn size(&self) -> (u64, u64) {
        let rules: u64 = self
            .known
            .values()
            .map(|known| u64::from(known.rules))
            .sum();
        (self.known.len() as u64, rules + self.jumps.len() as u64)
    }

    /// Rules written since the last call, those in built-in chains apart.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// Names of the chains of ours that are known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(AsRef::as_ref)
    }

    fn forget(&mut self, name: &str) {
        if let Some(old) = self.known.remove(name) {
            self.changed.remove(name);
            self.removed.insert(name.into());
            self.release(old.targets);
        }
    }

    fn release(&mut self, targets: Vec<Box<str>>) {
        for target in targets {
            if let Some(count) = self.references.get_mut(&target) {
                *count -= 1;
                if *count == 0 {
                    self.orphans.push(target);
                }
            }
        }
    }
}

pub(super) fn is_built_in(chain: &str) -> bool {
    matches!(
        chain,
        "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING"
    )
}

/// The chain of ours that a rule leads to.
pub(super) fn target(rule: &str) -> Option<&str> {
    let mut words = rule.rsplit(' ');
    let last = words.next()?;
    let how = words.next()?;
    (matches!(how, "-j" | "-g") && last.starts_with(PREFIX)).then_some(last)
}
