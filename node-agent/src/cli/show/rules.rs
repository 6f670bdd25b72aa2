//! Which iptables variants have rules of ours, and which mode these make.

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, IptablesPrograms, SavedTable, Table, Variant,
};

use super::report::RulesReport;
use crate::balancer::iptables::names::SERVICES;
use crate::cli::legacy_tables;
use crate::cli::snapshot::OURS;
use crate::family::family_words;
use crate::family::node_families;
use crate::glue::iptables::rules::{IPVS, IPVS_REFUSE};

/// What was read of one variant and family.
pub(super) struct Rules {
    pub(super) variant: Variant,
    family: Family,
    /// Rules and chains of ours.
    pub(super) nat: SavedTable,
    filter: SavedTable,
}

/// Reads our rules of every variant that is installed and in use.
pub(super) fn read() -> Result<Vec<Rules>, IptablesError> {
    let mut found = Vec::new();
    for variant in [Variant::Legacy, Variant::Nft] {
        if variant == Variant::Legacy && !legacy_tables::are_in_use() {
            continue;
        }
        let mut door = match IptablesPrograms::open(variant) {
            Ok(door) => door,
            Err(IptablesError::NotInstalled { .. }) => continue,
            Err(error) => return Err(error),
        };
        for family in node_families() {
            let mut ours = |table| match ours(&mut door, family, table) {
                Err(error) if error.is_lack() => Ok(SavedTable::default()),
                read => read,
            };
            let rules = Rules {
                variant,
                family,
                nat: ours(Table::Nat)?,
                filter: ours(Table::Filter)?,
            };
            if !(rules.nat.chains.is_empty() && rules.filter.chains.is_empty()) {
                found.push(rules);
            }
        }
    }
    Ok(found)
}

fn ours(
    door: &mut dyn Iptables,
    family: Family,
    table: Table,
) -> Result<SavedTable, IptablesError> {
    let mut saved = door.save(family, table, &|chain| chain.starts_with(OURS))?;
    saved.chains.retain(|chain| chain.name.starts_with(OURS));
    Ok(saved)
}

impl Rules {
    pub(super) fn report(&self) -> RulesReport {
        let chains = || self.nat.chains.iter().chain(&self.filter.chains);
        RulesReport {
            variant: self.variant.to_string(),
            family: family_words(self.family),
            chains: chains().count(),
            rules: chains().map(|chain| chain.rules.len()).sum(),
        }
    }

    /// The mode that these rules make.
    pub(super) fn mode(&self) -> Option<ActiveMode> {
        if self.nat.chain(IPVS).is_some() {
            Some(ActiveMode::IPVS)
        } else if self.nat.chain(SERVICES).is_some() {
            Some(ActiveMode::IPTables)
        } else {
            None
        }
    }

    /// IPVS still has old connections.
    pub(super) fn ipvs_drains(&self) -> bool {
        self.mode() == Some(ActiveMode::IPTables) && self.nat.chain(IPVS_REFUSE).is_some()
    }
}

/// The variant that has all of our rules that serve on this node now; none while they change from one to the other.
pub(in crate::cli) fn variant_in_force() -> Result<Option<Variant>, IptablesError> {
    let rules = read()?;
    let mut serving = rules.iter().filter(|rules| rules.mode().is_some());
    let first = serving.next().map(|rules| rules.variant);
    Ok(first.filter(|first| serving.all(|rules| rules.variant == *first)))
}

/// The mode that serves on this node now.
pub(in crate::cli) fn mode_in_force() -> Result<Option<ActiveMode>, IptablesError> {
    Ok(read()?.iter().find_map(Rules::mode))
}
