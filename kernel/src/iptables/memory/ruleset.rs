//! Tables, chains and rules, and what the kernel allows to be done to them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::canonical::target;
use super::super::{Table, canonical};

/// `XT_EXTENSION_MAXNAMELEN` less the terminator.
const MAX_CHAIN_NAME: usize = 28;

/// Targets that are no chains. Any other word after `-j` must be a chain.
const TARGETS: &[&str] = &[
    "ACCEPT",
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNMARK",
    "CT",
    "DNAT",
    "DROP",
    "DSCP",
    "HL",
    "LOG",
    "MARK",
    "MASQUERADE",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "NOTRACK",
    "QUEUE",
    "REDIRECT",
    "REJECT",
    "RETURN",
    "SET",
    "SNAT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
];

/// All tables of one family.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    tables: [TableState; Table::ALL.len()],
}

impl Ruleset {
    pub(super) fn table(&mut self, table: Table) -> &mut TableState {
        let state = &mut self.tables[table as usize];
        if state.built_in.is_empty() {
            state.built_in = built_in(table);
            state.chains = state
                .built_in
                .iter()
                .map(|name| ((*name).to_owned(), Arc::default()))
                .collect();
        }
        state
    }
}

fn built_in(table: Table) -> &'static [&'static str] {
    match table {
        Table::Filter => &["INPUT", "FORWARD", "OUTPUT"],
        Table::Nat => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
        Table::Mangle => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    }
}

/// One table. A clone is cheap: chains are shared until they are changed.
#[derive(Debug, Default, Clone)]
pub(super) struct TableState {
    built_in: &'static [&'static str],
    chains: BTreeMap<String, Arc<Vec<String>>>,
    /// How many rules go to each chain.
    references: HashMap<String, usize>,
    jumps_added: bool,
}

/// Why a change is refused, in the words of iptables.
pub(super) type Refused = String;

impl TableState {
    pub(super) fn rules(&self, chain: &str) -> Option<&[String]> {
        self.chains.get(chain).map(|rules| rules.as_slice())
    }

    /// In the order of a listing: built-in chains, then the others by name.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, &[String])> {
        let built_in = self
            .built_in
            .iter()
            .filter_map(|n| self.chains.get_key_value(*n));
        let others = self.chains.iter().filter(|(n, _)| !self.is_built_in(n));
        built_in
            .chain(others)
            .map(|(name, rules)| (name.as_str(), rules.as_slice()))
    }

    /// `:CHAIN`: a chain of users is created, or emptied; a built-in one keeps its rules.
    pub(super) fn declare(&mut self, chain: &str) -> Result<(), Refused> {
        if self.is_built_in(chain) {
            return Ok(());
        }
        if self.chains.contains_key(chain) {
            return self.flush(chain);
        }
        self.create(chain)
    }

    pub(super) fn create(&mut self, chain: &str) -> Result<(), Refused> {
        if chain.is_empty() || chain.len() > MAX_CHAIN_NAME || chain.starts_with(['-', '!']) {
            return Err(format!(
                "chain name `{chain}' too long (must be under {} chars)",
                MAX_CHAIN_NAME + 1
            ));
        }
        if self.chains.contains_key(chain) {
            return Err("Chain already exists.".to_owned());
        }
        self.chains.insert(chain.to_owned(), Arc::default());
        Ok(())
    }

    pub(super) fn flush(&mut self, chain: &str) -> Result<(), Refused> {
        for rule in std::mem::take(self.chain(chain)?) {
            self.count(&rule, false);
        }
        Ok(())
    }

    pub(super) fn flush_all(&mut self) -> Result<(), Refused> {
        let names: Vec<String> = self.chains.keys().cloned().collect();
        names.iter().try_for_each(|name| self.flush(name))
    }

    pub(super) fn delete_chain(&mut self, chain: &str) -> Result<(), Refused> {
        let rules = self.chain(chain)?.len();
        if self.is_built_in(chain)
            || rules > 0
            || self.references.get(chain).is_some_and(|n| *n > 0)
        {
            return Err(format!(
                "CHAIN_DEL failed (Device or resource busy): chain {chain}"
            ));
        }
        self.chains.remove(chain);
        Ok(())
    }

    pub(super) fn append(&mut self, chain: &str, rule: &str) -> Result<(), Refused> {
        let end = self.chain(chain)?.len();
        self.insert(chain, end + 1, rule)
    }

    /// At a place counted from 1; one more than there are rules is the end.
    pub(super) fn insert(&mut self, chain: &str, place: usize, rule: &str) -> Result<(), Refused> {
        let rule = canonical(rule).into_owned();
        if let Some(to) = target(&rule) {
            self.check_target(&to)?;
        }
        let rules = self.chain(chain)?;
        if place == 0 || place > rules.len() + 1 {
            return Err("Index of insertion too big.".to_owned());
        }
        rules.insert(place - 1, rule.clone());
        self.count(&rule, true);
        Ok(())
    }

    pub(super) fn delete_at(&mut self, chain: &str, place: usize) -> Result<(), Refused> {
        let rules = self.chain(chain)?;
        if place == 0 || place > rules.len() {
            return Err("Index of deletion too big.".to_owned());
        }
        let rule = rules.remove(place - 1);
        self.count(&rule, false);
        Ok(())
    }

    /// The first rule that is the same.
    pub(super) fn delete(&mut self, chain: &str, rule: &str) -> Result<(), Refused> {
        let rule = canonical(rule);
        let place = self.chain(chain)?.iter().position(|r| *r == rule);
        let place = place.ok_or("Bad rule (does a matching rule exist in that chain?).")?;
        self.delete_at(chain, place + 1)
    }

    /// What the kernel looks at before it takes a table: no packet may run in circles.
    pub(super) fn commit_check(&mut self) -> Result<(), Refused> {
        if !std::mem::take(&mut self.jumps_added) {
            return Ok(());
        }
        let mut finished = HashSet::new();
        for chain in self.built_in {
            self.walk(chain, &mut Vec::new(), &mut finished)?;
        }
        Ok(())
    }

    fn walk<'a>(
        &'a self,
        chain: &'a str,
        path: &mut Vec<&'a str>,
        finished: &mut HashSet<&'a str>,
    ) -> Result<(), Refused> {
        if path.contains(&chain) {
            return Err(format!(
                "RULE_APPEND failed (Too many links): rule in chain {chain}"
            ));
        }
        if finished.contains(chain) {
            return Ok(());
        }
        path.push(chain);
        for rule in self.chains.get(chain).map_or(&[][..], |r| r.as_slice()) {
            if let Some((name, _)) = target(rule).and_then(|t| self.chains.get_key_value(&t)) {
                self.walk(name, path, finished)?;
            }
        }
        path.pop();
        finished.insert(chain);
        Ok(())
    }

    fn check_target(&self, to: &str) -> Result<(), Refused> {
        if self.is_built_in(to) {
            return Err(
                "RULE_APPEND failed (Operation not supported): jump to a built-in chain".to_owned(),
            );
        }
        if self.chains.contains_key(to) || TARGETS.contains(&to) {
            return Ok(());
        }
        Err(format!("Chain '{to}' does not exist"))
    }

    fn chain(&mut self, chain: &str) -> Result<&mut Vec<String>, Refused> {
        let rules = self.chains.get_mut(chain);
        rules
            .map(Arc::make_mut)
            .ok_or_else(|| "No chain/target/match by that name.".to_owned())
    }

    fn count(&mut self, rule: &str, added: bool) {
        let Some(to) = target(rule).filter(|t| self.chains.contains_key(t)) else {
            return;
        };
        self.jumps_added |= added;
        let count = self.references.entry(to).or_default();
        *count = if added {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
    }

    fn is_built_in(&self, chain: &str) -> bool {
        self.built_in.contains(&chain)
    }
}
