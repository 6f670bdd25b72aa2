//! What `iptables-save` lists, as it comes and as a whole.

use std::collections::HashMap;

/// One thing that a listing says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed<'a> {
    /// There is a chain of this name; comes before its rules.
    Chain(&'a str),
    /// The next rule of a chain.
    Rule {
        /// The chain's name.
        chain: &'a str,
        /// The rule as printed, without the leading `-A NAME `.
        rule: &'a str,
    },
}

/// One chain of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedChain {
    /// Name.
    pub name: String,
    /// Its rules in order, as printed, without the leading `-A NAME `.
    pub rules: Vec<String>,
}

/// One table as listed, chains in the order printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedTable {
    /// Chains, built-in ones too.
    pub chains: Vec<SavedChain>,
}

impl SavedTable {
    /// The chain of that name.
    pub fn chain(&self, name: &str) -> Option<&SavedChain> {
        self.chains.iter().find(|c| c.name == name)
    }
}

/// Makes a [`SavedTable`] of a listing.
pub(super) struct Collector<'a> {
    keep: &'a dyn Fn(&str) -> bool,
    table: SavedTable,
    /// Where a chain is, if its rules are kept.
    positions: HashMap<String, usize>,
}

impl<'a> Collector<'a> {
    /// Keeps the rules of chains that `keep` names; of the others the name only.
    pub(super) fn new(keep: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            keep,
            table: SavedTable::default(),
            positions: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, listed: Listed<'_>) {
        match listed {
            Listed::Chain(name) => {
                if (self.keep)(name) {
                    self.positions
                        .insert(name.to_owned(), self.table.chains.len());
                }
                self.table.chains.push(SavedChain {
                    name: name.to_owned(),
                    rules: Vec::new(),
                });
            }
            Listed::Rule { chain, rule } => {
                if let Some(&at) = self.positions.get(chain) {
                    self.table.chains[at].rules.push(rule.to_owned());
                }
            }
        }
    }

    pub(super) fn finish(self) -> SavedTable {
        self.table
    }
}
