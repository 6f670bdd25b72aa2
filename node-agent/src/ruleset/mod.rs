//! Our iptables chains, both families: what the kernel holds of them, edits, commits, comparison.
//!
//! The balancer and the glue put chains here; neither sees `iptables-restore`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_kernel::iptables::{Family, Iptables, IptablesError, Table, Variant};

pub mod chain;
mod share;
pub mod table;

pub use chain::{Chain, short_hash, stable_hash};
pub use share::random_share;
pub use table::{ChainTable, Jump, PREFIX, Place};

use crate::data_plane::Drift;

/// The tables that hold chains of ours.
pub const TABLES: [Table; 2] = [Table::Filter, Table::Nat];

/// Our chains in all tables of the families that this node has.
pub struct RuleSet {
    iptables: Box<dyn Iptables>,
    families: Vec<FamilyRules>,
    loaded: bool,
    transactions: u64,
}

struct FamilyRules {
    family: Family,
    tables: [ChainTable; 2],
}

/// A rule set that balancer and glue share; only the data plane's thread uses it.
#[derive(Clone)]
pub struct SharedRuleSet(Arc<Mutex<RuleSet>>);

impl SharedRuleSet {
    /// Shares a rule set.
    pub fn new(rules: RuleSet) -> Self {
        Self(Arc::new(Mutex::new(rules)))
    }

    /// The rule set, for one step.
    pub fn lock(&self) -> MutexGuard<'_, RuleSet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RuleSet {
    /// A rule set of these families, written through this door.
    pub fn new(iptables: Box<dyn Iptables>, families: &[Family]) -> Self {
        let families = families
            .iter()
            .map(|&family| FamilyRules {
                family,
                tables: TABLES.map(ChainTable::new),
            })
            .collect();
        Self {
            iptables,
            families,
            loaded: false,
            transactions: 0,
        }
    }

    /// The families it covers.
    pub fn families(&self) -> Vec<Family> {
        self.families.iter().map(|f| f.family).collect()
    }

    /// The variant it is written with.
    pub fn variant(&self) -> Variant {
        self.iptables.variant()
    }

    /// One table, to edit.
    ///
    /// # Errors
    /// Never for the families that [`families`](Self::families) names; an unknown one is the caller's mistake and gives `None`.
    pub fn table(&mut self, family: Family, table: Table) -> Option<&mut ChainTable> {
        let rules = self.families.iter_mut().find(|f| f.family == family)?;
        rules.tables.iter_mut().find(|t| t.table() == table)
    }

    /// Forgets what was known: the next [`load`](Self::load) asks the kernel.
    pub fn distrust(&mut self) {
        self.loaded = false;
    }

    /// Reads what the kernel holds of ours, once until [`distrust`](Self::distrust).
    pub fn load(&mut self) -> Result<(), IptablesError> {
        if self.loaded {
            return Ok(());
        }
        for rules in &mut self.families {
            for table in &mut rules.tables {
                let saved =
                    self.iptables
                        .save(rules.family, table.table(), &ChainTable::of_interest)?;
                table.load(&saved);
            }
        }
        self.loaded = true;
        Ok(())
    }

    /// The pending edit, one text for each family that has one.
    pub fn pending(&self) -> Vec<(Family, String)> {
        let texts = self
            .families
            .iter()
            .map(|rules| (rules.family, rules.text()));
        texts.filter(|(_, text)| !text.is_empty()).collect()
    }

    /// Writes the pending edit: one `iptables-restore` for each family that has one. After an error nothing is known any more.
    pub fn commit(&mut self) -> Result<(), IptablesError> {
        for rules in &mut self.families {
            let text = rules.text();
            if text.is_empty() {
                continue;
            }
            if let Err(error) = self.iptables.restore(rules.family, &text) {
                self.loaded = false;
                return Err(error);
            }
            self.transactions += 1;
            rules.tables.iter_mut().for_each(ChainTable::settled);
        }
        Ok(())
    }

    /// Compares the kernel's listing with what was committed.
    pub fn verify(&mut self) -> Result<Vec<Drift>, IptablesError> {
        let mut drifts = Vec::new();
        for rules in &self.families {
            for table in &rules.tables {
                let saved =
                    self.iptables
                        .save(rules.family, table.table(), &ChainTable::of_interest)?;
                for (object, what) in table.compare(&saved) {
                    let object = format!("{object} of IP{:?} {}", rules.family, table.table())
                        .replace("IPV", "IPv");
                    drifts.push(Drift { object, what });
                }
            }
        }
        Ok(drifts)
    }

    /// Chains and rules of ours, both families.
    pub fn size(&self) -> (u64, u64) {
        let tables = self.families.iter().flat_map(|f| &f.tables);
        tables
            .map(ChainTable::size)
            .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// Committed transactions, programs started and bytes written, since the rule set was made.
    pub fn counts(&self) -> (u64, u64, u64) {
        (
            self.transactions,
            self.iptables.programs_started(),
            self.iptables.bytes_written(),
        )
    }
}

impl FamilyRules {
    fn text(&self) -> String {
        let mut text = String::new();
        self.tables
            .iter()
            .for_each(|table| table.write_edit(&mut text));
        text
    }
}
