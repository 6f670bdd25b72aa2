//! Which iptables variants may hold rules of ours, noted on disk before they do, so that none is forgotten after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sluice_kernel::iptables::Variant;

const FILE: &str = "iptables-variants";

/// The ledger file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: choose another --state-dir, or mend the directory", path.display())]
pub struct LedgerError {
    path: PathBuf,
    operation: &'static str,
    #[source]
    source: io::Error,
}

/// The variants, one a line.
#[derive(Debug)]
pub struct VariantLedger {
    path: PathBuf,
    variants: BTreeSet<Variant>,
}

impl VariantLedger {
    /// Reads the ledger of a state directory; words that are not variants are left out.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let path = state_dir.join(FILE);
        let error = |operation, source| LedgerError {
            path: path.clone(),
            operation,
            source,
        };
        fs::create_dir_all(state_dir).map_err(|e| error("create the directory of", e))?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(error("read", e)),
        };
        let variants = [Variant::Legacy, Variant::Nft]
            .into_iter()
            .filter(|variant| text.lines().any(|line| line == variant.to_string()))
            .collect();
        Ok(Self { path, variants })
    }

    /// Variants that may hold rules of ours, other than this one.
    pub fn others(&self, variant: Variant) -> Vec<Variant> {
        self.variants
            .iter()
            .copied()
            .filter(|other| *other != variant)
            .collect()
    }

    /// Notes a variant that is about to get rules of ours.
    pub fn add(&mut self, variant: Variant) -> Result<(), LedgerError> {
        if self.variants.insert(variant) {
            self.write()
        } else {
            Ok(())
        }
    }

    /// Strikes out a variant that holds none any more.
    pub fn remove(&mut self, variant: Variant) -> Result<(), LedgerError> {
        if self.variants.remove(&variant) {
            self.write()
        } else {
            Ok(())
        }
    }

    fn write(&self) -> Result<(), LedgerError> {
        let names: Vec<_> = self.variants.iter().map(ToString::to_string).collect();
        let beside = self.path.with_extension("new");
        fs::write(&beside, names.join("\n"))
            .and_then(|()| fs::rename(&beside, &self.path))
            .map_err(|source| LedgerError {
                path: self.path.clone(),
                operation: "write",
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_known_to_the_next_run_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = VariantLedger::open(dir.path()).unwrap();
        ledger.add(Variant::Legacy).unwrap();
        ledger.add(Variant::Nft).unwrap();
        let mut next = VariantLedger::open(dir.path()).unwrap();
        assert_eq!(next.others(Variant::Nft), [Variant::Legacy]);
        next.remove(Variant::Legacy).unwrap();
        let last = VariantLedger::open(dir.path()).unwrap();
        assert!(last.others(Variant::Nft).is_empty());
        assert_eq!(last.others(Variant::Legacy), [Variant::Nft]);
    }
}
