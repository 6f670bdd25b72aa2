//! What may hold something of ours, noted on disk before it does, so that nothing is forgotten after a crash; and the mode in use, by which
//! `Auto` knows where it was.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::Variant;

const VARIANTS: &str = "iptables-variants";
const MODE: &str = "mode";

/// A ledger file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: choose another --state-dir, or mend the directory", path.display())]
pub struct LedgerError {
    path: PathBuf,
    operation: &'static str,
    #[source]
    source: io::Error,
}

/// The iptables variants with rules of ours, one a line, and the mode in use.
#[derive(Debug)]
pub struct PlaneLedger {
    state_dir: PathBuf,
    variants: BTreeSet<Variant>,
    mode: Option<ActiveMode>,
}

impl PlaneLedger {
    /// Reads the ledger of a state directory; words that mean nothing are left out.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(state_dir).map_err(|source| LedgerError {
            path: state_dir.to_path_buf(),
            operation: "create",
            source,
        })?;
        let variants = read(&state_dir.join(VARIANTS))?;
        let mode = read(&state_dir.join(MODE))?;
        Ok(Self {
            state_dir: state_dir.to_path_buf(),
            variants: [Variant::Legacy, Variant::Nft]
                .into_iter()
                .filter(|variant| variants.lines().any(|line| line == variant.to_string()))
                .collect(),
            mode: [ActiveMode::IPTables, ActiveMode::IPVS]
                .into_iter()
                .find(|known| mode.trim() == known.to_string()),
        })
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
        let mut variants = self.variants.clone();
        variants.insert(variant);
        self.set_variants(variants)
    }

    /// Strikes out a variant that holds none any more.
    pub fn remove(&mut self, variant: Variant) -> Result<(), LedgerError> {
        let mut variants = self.variants.clone();
        variants.remove(&variant);
        self.set_variants(variants)
    }

    /// The mode that was in use last; absent before the first.
    pub fn mode(&self) -> Option<ActiveMode> {
        self.mode
    }

    /// Notes the mode in use.
    pub fn set_mode(&mut self, mode: ActiveMode) -> Result<(), LedgerError> {
        if self.mode != Some(mode) {
            self.write(MODE, &mode.to_string())?;
            self.mode = Some(mode);
        }
        Ok(())
    }

    /// Removes the ledger: nothing of ours is left that it could tell of.
    pub fn forget(self) -> Result<(), LedgerError> {
        for file in [VARIANTS, MODE] {
            let path = self.state_dir.join(file);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError {
                        path,
                        operation: "remove",
                        source,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What could not be written is written at the next call.
    fn set_variants(&mut self, variants: BTreeSet<Variant>) -> Result<(), LedgerError> {
        if self.variants != variants {
            let names: Vec<_> = variants.iter().map(ToString::to_string).collect();
            self.write(VARIANTS, &names.join("\n"))?;
            self.variants = variants;
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> Result<(), LedgerError> {
        let path = self.state_dir.join(file);
        let beside = path.with_extension("new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|source| LedgerError {
                path,
                operation: "write",
                source,
            })
    }
}

fn read(path: &Path) -> Result<String, LedgerError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(LedgerError {
            path: path.to_path_buf(),
            operation: "read",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_known_to_the_next_run_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = PlaneLedger::open(dir.path()).unwrap();
        ledger.add(Variant::Legacy).unwrap();
        ledger.add(Variant::Nft).unwrap();
        let mut next = PlaneLedger::open(dir.path()).unwrap();
        assert_eq!(next.others(Variant::Nft), [Variant::Legacy]);
        next.remove(Variant::Legacy).unwrap();
        let last = PlaneLedger::open(dir.path()).unwrap();
        assert!(last.others(Variant::Nft).is_empty());
        assert_eq!(last.others(Variant::Legacy), [Variant::Nft]);
    }

    #[test]
    fn a_forgotten_ledger_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = PlaneLedger::open(dir.path()).unwrap();
        ledger.add(Variant::Nft).unwrap();
        ledger.set_mode(ActiveMode::IPVS).unwrap();
        ledger.forget().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        PlaneLedger::open(dir.path()).unwrap().forget().unwrap();
    }

    #[test]
    fn the_mode_is_known_to_the_next_run_and_nonsense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = PlaneLedger::open(dir.path()).unwrap();
        assert_eq!(ledger.mode(), None);
        ledger.set_mode(ActiveMode::IPVS).unwrap();
        let next = PlaneLedger::open(dir.path()).unwrap();
        assert_eq!(next.mode(), Some(ActiveMode::IPVS));
        std::fs::write(dir.path().join(MODE), "IPV").unwrap();
        assert_eq!(PlaneLedger::open(dir.path()).unwrap().mode(), None);
    }

    #[test]
    fn a_note_that_could_not_be_written_is_written_at_the_next_try() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = PlaneLedger::open(dir.path()).unwrap();
        // A folder cannot be written over.
        for file in [VARIANTS, MODE] {
            fs::create_dir(dir.path().join(file)).unwrap();
        }
        for _ in 0..2 {
            ledger.add(Variant::Legacy).unwrap_err();
            ledger.set_mode(ActiveMode::IPVS).unwrap_err();
        }
        for file in [VARIANTS, MODE] {
            fs::remove_dir(dir.path().join(file)).unwrap();
        }
        ledger.add(Variant::Legacy).unwrap();
        ledger.set_mode(ActiveMode::IPVS).unwrap();
        let next = PlaneLedger::open(dir.path()).unwrap();
        assert_eq!(next.others(Variant::Nft), [Variant::Legacy]);
        assert_eq!(next.mode(), Some(ActiveMode::IPVS));
    }
}
