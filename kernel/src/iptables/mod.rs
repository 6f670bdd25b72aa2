//! The packet filter as `iptables-restore` and `iptables-save` see it.

use std::fmt;

mod canonical;
mod detect;
mod diagnose;
mod error;
mod memory;
mod parse;
mod program;
mod programs;
mod saved;
mod stamp;

use saved::Collector;

pub use crate::address_set::Family;
pub use canonical::{canonical, same_rule};
pub use detect::{
    Evidence, Reason, VariantEvidence, detect, detect_variant, gather_evidence, try_variant,
};
pub use error::IptablesError;
pub use memory::{Call, MemoryIptables, Operation};
pub use parse::{ListingError, ListingParser, parse_listing};
pub use programs::IptablesPrograms;
pub use saved::{Listed, SavedChain, SavedTable};
pub use stamp::{Stamp, StampError};

/// Which iptables binaries, and so which kernel back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// `iptables-legacy-*`: `x_tables`.
    Legacy,
    /// `iptables-nft-*`: `nf_tables` through `nft_compat`.
    Nft,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        })
    }
}

/// Table names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `filter`
    Filter,
    /// `nat`
    Nat,
    /// `mangle`
    Mangle,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Filter, Self::Nat, Self::Mangle];

    /// As iptables calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The door to iptables. One value is one variant.
pub trait Iptables: Send {
    /// The variant it speaks.
    fn variant(&self) -> Variant;
    /// Runs one `iptables-restore --noflush` (or its IPv6 twin) on `input`, the whole text with `*table` and `COMMIT`.
    /// Tables are committed one by one; each is all or nothing.
    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError>;
    /// Lists one table, chain by chain and rule by rule as they come, so that nothing is held in memory.
    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError>;
    /// Lists one table. `keep` decides by name which chains' rules are kept; the others come with an empty list of rules.
    fn save(
        &mut self,
        family: Family,
        table: Table,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<SavedTable, IptablesError> {
        let mut collector = Collector::new(keep);
        self.list(family, table, &mut |item| collector.take(item))?;
        Ok(collector.finish())
    }
    /// What proves that nobody changed any rule between two moments; `None` where the kernel gives no such proof.
    fn stamp(&mut self) -> Option<Stamp>;
    /// How many programs this door has started, since it was opened.
    fn programs_started(&self) -> u64;
    /// How many bytes this door has written to programs, since it was opened.
    fn bytes_written(&self) -> u64;
}
