//! Our iptables chains, both families: what the kernel holds of them, edits, commits, comparison.
//!
//! The balancer and the glue put chains here; neither sees `iptables-restore`.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_kernel::iptables::{Family, Iptables, IptablesError, Stamp, Table, Variant};

pub mod chain;
mod held;
mod memory;
mod share;
pub mod table;

pub use chain::{Chain, short_hash, short_hash_of, stable_hash};
pub use memory::forget;
pub use share::random_share;
pub use table::{ChainTable, Jump, PREFIX, Place};

use self::held::Held;
use self::memory::{HeldTables, Memory};
use crate::data_plane::Drift;
use crate::tally::TableRules;

/// The tables that hold chains of ours in every mode.
pub const TABLES: [Table; 2] = [Table::Filter, Table::Nat];

/// Our chains in all tables of the families that this node has.
pub struct RuleSet {
    iptables: Box<dyn Iptables>,
    families: Vec<FamilyRules>,
    loaded: bool,
    transactions: u64,
    memory: Option<Memory>,
    /// The moment at which the kernel held what is known here; absent while that is not sure.
    moment: Option<Stamp>,
    /// Something was loaded before.
    is_used: bool,
}

struct FamilyRules {
    family: Family,
    /// In the order in which they are committed.
    tables: Vec<ChainTable>,
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
                tables: TABLES.map(ChainTable::new).into(),
            })
            .collect();
        Self {
            iptables,
            families,
            loaded: false,
            transactions: 0,
            memory: None,
            moment: None,
            is_used: false,
        }
    }

    /// Remembers in a file of this directory what the kernel holds: if nobody committed anything since, the first
    /// [`load`](Self::load) of the next run need not list it.
    pub fn remember_in(&mut self, directory: &Path) {
        self.memory = Some(Memory::new(directory, self.variant()));
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

    /// Covers the mangle table too, or no longer. Listing it makes the kernel set it up, so that is for those who need it; it is committed
    /// before the nat table, which the packets meet after it.
    pub fn cover_mangle(&mut self, on: bool) -> Result<(), IptablesError> {
        for rules in &mut self.families {
            let covered = rules.tables.iter().any(|t| t.table() == Table::Mangle);
            if on && !covered {
                let mut mangle = ChainTable::new(Table::Mangle);
                if self.loaded {
                    mangle.load(Held::list(
                        self.iptables.as_mut(),
                        rules.family,
                        Table::Mangle,
                    )?);
                    self.moment = None;
                }
                let before_nat = rules.tables.len() - 1;
                rules.tables.insert(before_nat, mangle);
            } else if !on && covered {
                rules.tables.retain(|t| t.table() != Table::Mangle);
            }
        }
        Ok(())
    }

    /// Whether it covers a table.
    pub fn covers(&self, table: Table) -> bool {
        self.tables().contains(&table)
    }

    /// The tables it covers.
    pub fn tables(&self) -> Vec<Table> {
        let first = self.families.first();
        first.map_or_else(Vec::new, |f| {
            f.tables.iter().map(ChainTable::table).collect()
        })
    }

    /// Forgets what was known: the next [`load`](Self::load) asks the kernel.
    pub fn distrust(&mut self) {
        self.loaded = false;
    }

    /// What the kernel holds is known.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Reads what the kernel holds of ours, once until [`distrust`](Self::distrust).
    pub fn load(&mut self) -> Result<(), IptablesError> {
        if self.loaded {
            return Ok(());
        }
        let before = self.iptables.stamp();
        if self.recall(before.as_ref()) {
            return Ok(());
        }
        for rules in &mut self.families {
            for table in &mut rules.tables {
                let held = Held::list(self.iptables.as_mut(), rules.family, table.table())?;
                table.load(held);
            }
        }
        self.moment = before.filter(|before| self.iptables.stamp().as_ref() == Some(before));
        self.loaded = true;
        Ok(())
    }

    /// Takes over what the run before left, if the kernel is as it was then.
    fn recall(&mut self, now: Option<&Stamp>) -> bool {
        // Later loads follow a doubt, and a doubt is settled by the kernel's listing only.
        if self.is_used {
            return false;
        }
        self.is_used = true;
        let (Some(memory), Some(now)) = (&mut self.memory, now) else {
            return false;
        };
        let Some(mut held) = memory.read(now) else {
            return false;
        };
        let covered = |rules: &FamilyRules| {
            let mut tables = rules.tables.iter();
            tables.all(|table| held.contains_key(&(rules.family, table.table())))
        };
        if !self.families.iter().all(covered) {
            return false;
        }
        for rules in &mut self.families {
            for table in &mut rules.tables {
                let held = held.remove(&(rules.family, table.table()));
                table.load(held.unwrap_or_default());
            }
        }
        self.moment = Some(now.clone());
        self.loaded = true;
        true
    }

    /// Writes down what the kernel holds, for the next run. Without it that run lists, so a failure does no harm.
    pub fn remember(&mut self) {
        let (Some(memory), Some(moment)) = (&mut self.memory, &self.moment) else {
            return;
        };
        let families = &self.families;
        let tables = || -> HeldTables {
            let all = families.iter().flat_map(|rules| {
                let tables = rules.tables.iter();
                tables.map(|table| ((rules.family, table.table()), table.held()))
            });
            all.collect()
        };
        if let Err(error) = memory.write(moment, tables) {
            tracing::warn!(%error, "the run directory cannot be written: the next start takes longer");
            self.memory = None;
        }
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
            // Whoever else commits meanwhile makes the count of commits wrong.
            let before = self
                .moment
                .take()
                .filter(|known| self.iptables.stamp().as_ref() == Some(known));
            if let Err(error) = self.iptables.restore(rules.family, &text) {
                self.loaded = false;
                return Err(error);
            }
            let commits = rules.edited_tables();
            self.moment = before.and_then(|before| {
                let now = self.iptables.stamp();
                now.filter(|now| now.is_after(&before, commits))
            });
            self.transactions += 1;
            rules.tables.iter_mut().for_each(ChainTable::settled);
        }
        Ok(())
    }

    /// Compares the kernel's listing with what was committed.
    pub fn verify(&mut self) -> Result<Vec<Drift>, IptablesError> {
        let mut drifts = Vec::new();
        let before = self.iptables.stamp();
        for rules in &self.families {
            for table in &rules.tables {
                let held = Held::list(self.iptables.as_mut(), rules.family, table.table())?;
                for (object, what) in table.compare(held) {
                    let object = format!("{object} of IP{:?} {}", rules.family, table.table())
                        .replace("IPV", "IPv");
                    drifts.push(Drift { object, what });
                }
            }
        }
        self.moment = before
            .filter(|before| drifts.is_empty() && self.iptables.stamp().as_ref() == Some(before));
        Ok(drifts)
    }

    /// Chains and rules of ours, both families.
    pub fn size(&self) -> (u64, u64) {
        let tables = self.families.iter().flat_map(|f| &f.tables);
        tables
            .map(ChainTable::size)
            .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// Rules of each table: those that are there, and those written since the last call.
    pub fn take_rules(&mut self) -> Vec<TableRules> {
        let families = self.families.iter_mut();
        let of_family = families.flat_map(|rules| {
            let family = rules.family;
            let tables = rules.tables.iter_mut();
            tables.map(move |table| TableRules {
                family,
                table: table.table(),
                present: table.size().1,
                written: table.take_written(),
            })
        });
        of_family.collect()
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
    /// Each is a transaction of its own. The kernel does not count one without effect; where what is known is so, none is.
    fn edited_tables(&self) -> u32 {
        let edited = self.tables.iter().filter(|table| table.is_edited());
        u32::try_from(edited.count()).unwrap_or(u32::MAX)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.tables
            .iter()
            .for_each(|table| table.write_edit(&mut text));
        text
    }
}
