//! What kube-proxy left in this node's kernel: found, and removed.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::process::{Command, Output};

use sluice_kernel::address_set::{AddressSetError, AddressSets, Family, IpsetNetlink};
use sluice_kernel::iptables::{Iptables, IptablesError, IptablesPrograms, Table, Variant};

use super::names::{self, NFT_TABLE};
use super::rules::{self, Removal};

/// Why something could not be found or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftoversError {
    /// Rules.
    #[error("iptables {variant}, table {table}")]
    Iptables {
        /// Of which programs.
        variant: Variant,
        /// Of which table.
        table: Table,
        /// Cause.
        #[source]
        source: IptablesError,
    },
    /// Address sets.
    #[error("address set {name}: look which rules use it with `iptables-save | grep {name}`")]
    Set {
        /// Which.
        name: String,
        /// Cause.
        #[source]
        source: AddressSetError,
    },
    /// All address sets.
    #[error("address sets cannot be listed")]
    Sets(#[source] AddressSetError),
    /// `nft` could not be run.
    #[error("nft cannot be run")]
    Nft(#[source] io::Error),
    /// `nft` refused.
    #[error("nft {arguments}: {message}")]
    NftRefused {
        /// What it was told.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// What kube-proxy left, and what of it others use.
#[derive(Debug, Default)]
pub struct Leftovers {
    tables: Vec<InTable>,
    sets: Vec<String>,
    nft_families: Vec<&'static str>,
    /// Rules of Sluice are in force.
    pub sluice_serves: bool,
    /// No `nft`: whether there are tables of kube-proxy's nftables mode is not known.
    pub nft_is_absent: bool,
}

#[derive(Debug)]
struct InTable {
    variant: Variant,
    family: Family,
    table: Table,
    removal: Removal,
}

impl Leftovers {
    /// Looks through the kernel, in the network namespace of the calling thread. What could not be looked at is among the
    /// errors.
    pub fn find(variants: &[Variant], families: &[Family]) -> (Self, Vec<LeftoversError>) {
        let mut found = Self::default();
        let mut errors = Vec::new();
        for &variant in variants {
            found.find_rules(variant, families, &mut errors);
        }
        match IpsetNetlink::open().and_then(|mut door| door.headers("KUBE-")) {
            Ok(headers) => {
                let held = headers.into_iter().map(|header| header.spec.name);
                found.sets = held.filter(|name| names::is_set(name)).collect();
            }
            Err(error) => errors.push(LeftoversError::Sets(error)),
        }
        match nft(&["list", "tables"]) {
            Ok(tables) => {
                let has = |family: &str| {
                    let line = format!("table {family} {NFT_TABLE}");
                    tables.lines().any(|listed| listed.trim() == line)
                };
                found.nft_families = ["ip", "ip6"].into_iter().filter(|one| has(one)).collect();
            }
            Err(LeftoversError::Nft(error)) if error.kind() == io::ErrorKind::NotFound => {
                found.nft_is_absent = true;
            }
            Err(error) => errors.push(error),
        }
        (found, errors)
    }

    fn find_rules(
        &mut self,
        variant: Variant,
        families: &[Family],
        errors: &mut Vec<LeftoversError>,
    ) {
        let mut door = match IptablesPrograms::open(variant) {
            Ok(door) => door,
            // Without programs nobody here reads or writes such rules.
            Err(IptablesError::NotInstalled { .. }) => return,
            Err(source) => {
                let table = Table::Nat;
                errors.push(LeftoversError::Iptables {
                    variant,
                    table,
                    source,
                });
                return;
            }
        };
        self.find_rules_behind(&mut door, families, errors);
    }

    fn find_rules_behind(
        &mut self,
        door: &mut dyn Iptables,
        families: &[Family],
        errors: &mut Vec<LeftoversError>,
    ) {
        let variant = door.variant();
        for &family in families {
            for table in Table::ALL {
                match door.save(family, table, &|_| true) {
                    Ok(saved) => {
                        self.sluice_serves |= table == Table::Nat && rules::sluice_serves(&saved);
                        let removal = rules::removal(&saved);
                        self.tables.push(InTable {
                            variant,
                            family,
                            table,
                            removal,
                        });
                    }
                    // A table that the kernel does not have holds nothing.
                    Err(source) if source.is_lack() => {}
                    Err(source) => errors.push(LeftoversError::Iptables {
                        variant,
                        table,
                        source,
                    }),
                }
            }
        }
    }

    /// Whether kube-proxy left nothing that can go.
    pub fn is_empty(&self) -> bool {
        let no_rules = self.tables.iter().all(|one| one.removal.is_empty());
        no_rules && self.sets.is_empty() && self.nft_families.is_empty()
    }

    /// What goes, one object a line.
    pub fn objects(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for one in &self.tables {
            let place = one.place();
            for jump in &one.removal.jumps {
                let _ = writeln!(text, "{place}: rule -A {jump}");
            }
            for chain in &one.removal.chains {
                let _ = writeln!(text, "{place}: chain {chain}");
            }
        }
        for set in &self.sets {
            let _ = writeln!(text, "address set {set}");
        }
        for family in &self.nft_families {
            let _ = writeln!(text, "nftables: table {family} {NFT_TABLE}");
        }
        text
    }

    /// Chains of kube-proxy that stay, and why.
    pub fn kept(&self) -> Vec<String> {
        let tables = self.tables.iter();
        let lines = tables.flat_map(|one| {
            let place = one.place();
            one.removal
                .kept
                .iter()
                .map(move |why| format!("{place}: {why}"))
        });
        lines.collect()
    }

    /// How much there is, for people.
    pub fn counts(&self) -> String {
        let chains: usize = self.tables.iter().map(|one| one.removal.chains.len()).sum();
        let jumps: usize = self.tables.iter().map(|one| one.removal.jumps.len()).sum();
        format!(
            "{chains} chains and {jumps} jumps of iptables, {} address sets, {} nftables tables",
            self.sets.len(),
            self.nft_families.len()
        )
    }

    /// Removes the rules, goes on after an error, and returns every error.
    pub fn remove_rules(&self) -> Vec<LeftoversError> {
        let mut errors = Vec::new();
        for one in self.tables.iter().filter(|one| !one.removal.is_empty()) {
            let (variant, table) = (one.variant, one.table);
            let removed = IptablesPrograms::open(variant)
                .and_then(|mut door| door.restore(one.family, &one.removal.script(table)));
            if let Err(source) = removed {
                errors.push(LeftoversError::Iptables {
                    variant,
                    table,
                    source,
                });
            }
        }
        for family in &self.nft_families {
            if let Err(error) = nft(&["delete", "table", family, NFT_TABLE]) {
                errors.push(error);
            }
        }
        errors
    }

    /// Removes the sets, which no rule must use any more; goes on after an error, and returns every error.
    pub fn remove_sets(&self) -> Vec<LeftoversError> {
        let mut errors = Vec::new();
        if !self.sets.is_empty() {
            match IpsetNetlink::open() {
                Ok(mut door) => {
                    errors.extend(self.sets.iter().filter_map(|set| match door.destroy(set) {
                        Ok(()) | Err(AddressSetError::NotFound { .. }) => None,
                        Err(source) => Some(LeftoversError::Set {
                            name: set.clone(),
                            source,
                        }),
                    }));
                }
                Err(error) => errors.push(LeftoversError::Sets(error)),
            }
        }
        errors
    }
}

impl InTable {
    fn place(&self) -> String {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        format!("iptables {} {family} {}", self.variant, self.table)
    }
}

fn nft(arguments: &[&str]) -> Result<String, LeftoversError> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("nft")
        .args(arguments)
        .output()
        .map_err(LeftoversError::Nft)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(LeftoversError::NftRefused {
            arguments: arguments.join(" "),
            message: String::from_utf8_lossy(&stderr).trim().to_owned(),
        })
    }
}
