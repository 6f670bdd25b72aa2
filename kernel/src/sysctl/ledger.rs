//! Remembers what tunables were before we set them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{LedgerError, SysctlError, Sysctls, same_value};

/// The original values of the tunables that were set through it, in a file, so that cleanup can bring them back, also
/// after a restart.
///
/// The file is written before the kernel: a crash between the two leaves a record too many, which restoring finds unchanged.
#[derive(Debug)]
pub struct SysctlLedger {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    original: String,
    ours: String,
    /// How the kernel prints what we set, where otherwise: lists that it joins, numbers that it rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

impl Entry {
    /// The kernel holds what we set.
    fn is_ours(&self, present: &str) -> bool {
        let mut ours = self.shown.iter().chain([&self.ours]);
        ours.any(|one| same_value(one, present))
    }
}

/// What restoring did with one tunable.
#[derive(Debug)]
pub enum Restored {
    /// It has its original value again, or had it already.
    Original,
    /// It was set to something else after us, so it was left and forgotten.
    ChangedByOthers {
        /// What we had set.
        ours: String,
        /// What it is.
        present: String,
    },
    /// It no longer exists, as happens with an interface's tunables; forgotten.
    Gone,
    /// It could not be read or set; remembered for the next time.
    Failed(SysctlError),
}

impl SysctlLedger {
    /// Reads the record at `path`; none there is an empty one. A file that is not understood is moved to `PATH.corrupt`
    /// (or `.corrupt.1`, `.corrupt.2`, …) and reported once.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |operation| {
            move |source| LedgerError::Io {
                path: path.to_path_buf(),
                operation,
                source,
            }
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::empty(path)),
            Err(e) => return Err(failed("read")(e)),
        };
        match serde_json::from_slice(&text) {
            Ok(entries) => Ok(Self {
                path: path.to_path_buf(),
                entries,
            }),
            Err(source) => {
                let moved_to = free_name(path);
                fs::rename(path, &moved_to).map_err(failed("move aside"))?;
                Err(LedgerError::Corrupt { moved_to, source })
            }
        }
    }

    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            entries: BTreeMap::new(),
        }
    }

    /// Sets a tunable, remembering what it was before the first time. Returns whether it wrote to the kernel.
    pub fn set(
        &mut self,
        sysctls: &mut dyn Sysctls,
        name: &str,
        value: &str,
    ) -> Result<bool, LedgerError> {
        let present = sysctls.read(name)?;
        if same_value(&present, value) {
            return Ok(false);
        }
        let before = self.entries.get(name).cloned();
        let set_before = before.as_ref().filter(|entry| entry.ours == value);
        if set_before.is_some_and(|entry| entry.is_ours(&present)) {
            return Ok(false);
        }
        let entry = Entry {
            shown: set_before.and_then(|entry| entry.shown.clone()),
            original: before.as_ref().map_or(present, |e| e.original.clone()),
            ours: value.to_owned(),
        };
        self.note(name, Some(entry.clone()))?;
        match sysctls.set(name, value) {
            Ok(written) => {
                let shown = sysctls.read(name).ok();
                let shown = shown.filter(|shown| !same_value(shown, value));
                // Where this cannot be noted, the value is in force all the same, and the next call tries again.
                let _ = self.note(name, Some(Entry { shown, ..entry }));
                Ok(written.is_some())
            }
            Err(error) => {
                self.note(name, before)?;
                Err(error.into())
            }
        }
    }

    /// Remembers this of a tunable, or nothing. The file is written only where it says something else: a reboot finds it as it was, perhaps
    /// on a full disk.
    fn note(&mut self, name: &str, entry: Option<Entry>) -> Result<(), LedgerError> {
        let before = self.entries.get(name).cloned();
        if before == entry {
            return Ok(());
        }
        self.put(name, entry);
        let stored = self.store();
        if stored.is_err() {
            self.put(name, before);
        }
        stored
    }

    fn put(&mut self, name: &str, entry: Option<Entry>) {
        match entry {
            Some(entry) => self.entries.insert(name.to_owned(), entry),
            None => self.entries.remove(name),
        };
    }

    /// Names of the tunables that are set otherwise than they were.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Brings one tunable back, and forgets it. `None` if it was not set through this record.
    pub fn restore(
        &mut self,
        sysctls: &mut dyn Sysctls,
        name: &str,
    ) -> Result<Option<Restored>, LedgerError> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let outcome = bring_back(sysctls, name, entry);
        if !matches!(outcome, Restored::Failed(_)) {
            self.note(name, None)?;
        }
        Ok(Some(outcome))
    }

    /// Forgets one tunable, which stays as it is. Returns whether it was set through this record.
    pub fn forget(&mut self, name: &str) -> Result<bool, LedgerError> {
        let known = self.entries.contains_key(name);
        self.note(name, None)?;
        Ok(known)
    }

    /// Brings all tunables back that still have the value that we set, goes on after failures, and says what became of each. The file is written once,
    /// after the last: where that fails they are back all the same, and are found so the next time.
    pub fn restore_all(
        &mut self,
        sysctls: &mut dyn Sysctls,
    ) -> Result<Vec<(String, Restored)>, LedgerError> {
        let mut outcomes = Vec::with_capacity(self.entries.len());
        self.entries.retain(|name, entry| {
            let outcome = bring_back(sysctls, name, entry);
            let is_left = matches!(outcome, Restored::Failed(_));
            outcomes.push((name.clone(), outcome));
            is_left
        });
        self.store()?;
        Ok(outcomes)
    }

    /// Writes the file whole or not at all; an empty record is no file.
    fn store(&self) -> Result<(), LedgerError> {
        let failed = |source| LedgerError::Io {
            path: self.path.clone(),
            operation: "write",
            source,
        };
        if self.entries.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(e)),
                _ => Ok(()),
            };
        }
        write_whole(&self.path, &self.entries).map_err(failed)
    }
}

fn bring_back(sysctls: &mut dyn Sysctls, name: &str, entry: &Entry) -> Restored {
    let present = match sysctls.read(name) {
        Ok(present) => present,
        Err(SysctlError::NotFound { .. }) => return Restored::Gone,
        Err(e) => return Restored::Failed(e),
    };
    if same_value(&present, &entry.original) {
        return Restored::Original;
    }
    if !entry.is_ours(&present) {
        return Restored::ChangedByOthers {
            ours: entry.ours.clone(),
            present,
        };
    }
    match sysctls.set(name, &entry.original) {
        Ok(_) => Restored::Original,
        Err(e) => Restored::Failed(e),
    }
}

fn write_whole(path: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, entries)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn free_name(path: &Path) -> PathBuf {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut candidate = named(".corrupt");
    let mut number = 0;
    while candidate.exists() {
        number += 1;
        candidate = named(&format!(".corrupt.{number}"));
    }
    candidate
}
