//! Attachments on disk: one small file each, so that they survive a crash and one damaged file costs one attachment.

mod error;
mod files;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::error::StoreError;
use self::files::{Read, SUFFIX};
use self::index::{Entries, Index};
use crate::{AttachmentId, Record};

const LOCK: &str = ".lock";
/// Between two looks at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// A directory of records. Whoever reads or writes them locks it first.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

/// A store that no other process reads or writes as long as this value lives.
#[derive(Debug)]
pub struct LockedStore<'a> {
    directory: &'a Path,
    /// The lock ends with this open file, so also with its process.
    _lock: File,
}

/// All that a store holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// What can be read.
    pub records: Vec<Record>,
    /// What cannot: set aside by this listing, so that the next one does not meet it.
    pub corrupt: Vec<Corrupt>,
    /// Why records and the index of their addresses could not be made to agree, where they do not.
    pub disagreement: Option<StoreError>,
}

/// A file that was no record.
#[derive(Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Its present path: it was renamed, with `.corrupt` at its end.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Store {
    /// Makes the directory, for root alone, where it is missing.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let directory = directory.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| StoreError::io("make the directory", &directory, source))?;
        Ok(Self { directory })
    }

    /// Removes a store with all that is remembered there, which would be false by the time that another plugin reads it.
    pub fn remove(directory: &Path) -> Result<(), StoreError> {
        index::remove(directory)
    }

    /// Removes the directory of a store that no plugin and no agent will use any more, unless something is remembered there.
    pub fn remove_if_empty(directory: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::io("list", directory, source);
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if name != LOCK && name != index::DIRECTORY {
                return Ok(());
            }
        }
        index::remove(directory)
    }

    /// Waits up to `patience` for the lock.
    pub fn lock(&self, patience: Duration) -> Result<LockedStore<'_>, StoreError> {
        let path = self.directory.join(LOCK);
        let failed = |source| StoreError::io("lock", &path, source);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { path, patience });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Ok(LockedStore {
            directory: &self.directory,
            _lock: file,
        })
    }
}

impl LockedStore<'_> {
    /// Writes a record in place of the one of the same attachment. After a crash there is the old one or the new one. Its addresses are this
    /// record's from then on ([`Self::others_holding`]).
    pub fn put(&self, record: &Record) -> Result<(), StoreError> {
        let (index, name) = (Index::of(self.directory), record.id.file_name());
        if !index.is_there() {
            index.agree(&entries_of(&self.read_all()?.records))?;
        }
        let before = self.get(&record.id)?;
        for address in &record.addresses {
            index.point(*address, &name)?;
        }
        files::write(self.directory, record)?;
        let before = before.iter().flat_map(|before| &before.addresses);
        for address in before.filter(|address| !record.addresses.contains(address)) {
            index.withdraw(*address, &name)?;
        }
        Ok(())
    }

    /// The record of an attachment. A file that cannot be read is set aside, and there is no record then.
    pub fn get(&self, id: &AttachmentId) -> Result<Option<Record>, StoreError> {
        self.named(&id.file_name())
    }

    fn named(&self, name: &str) -> Result<Option<Record>, StoreError> {
        match files::read(&self.directory.join(name))? {
            Read::Record(record) => Ok(Some(*record)),
            Read::Nothing | Read::Corrupt(_) => Ok(None),
        }
    }

    /// Removes the record of an attachment and what else carries its name. Returns whether there was a record.
    pub fn remove(&self, id: &AttachmentId) -> Result<bool, StoreError> {
        let (index, name) = (Index::of(self.directory), id.file_name());
        let before = self.get(id)?;
        files::remove(self.directory, id)?;
        match &before {
            Some(record) => {
                for address in &record.addresses {
                    index.withdraw(*address, &name)?;
                }
            }
            None => index.withdraw_all(&name)?,
        }
        Ok(before.is_some())
    }

    /// All records, by file name; those that cannot be read are set aside, and the index of addresses is repaired. An address that several
    /// records hold, as they may where its entry was lost, stays with the one that the index names, else with the one written last.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = self.read_all()?;
        let settled = self.settle(&mut listing.records);
        let agreed = settled.and_then(|()| {
            let entries = entries_of(&listing.records);
            Index::of(self.directory).agree(&entries)
        });
        listing.disagreement = agreed.err();
        Ok(listing)
    }

    fn read_all(&self) -> Result<Listing, StoreError> {
        let failed = |source| StoreError::io("list", self.directory, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string().ok().filter(|name| is_record(name)));
        }
        names.sort_unstable();
        let mut listing = Listing::default();
        for name in names {
            match files::read(&self.directory.join(name))? {
                Read::Record(record) => listing.records.push(*record),
                Read::Corrupt(corrupt) => listing.corrupt.push(corrupt),
                Read::Nothing => {}
            }
        }
        Ok(listing)
    }

    fn settle(&self, records: &mut [Record]) -> Result<(), StoreError> {
        let mut holders: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        for (number, record) in records.iter().enumerate() {
            for address in &record.addresses {
                holders.entry(*address).or_default().insert(number);
            }
        }
        for (address, holders) in holders.into_iter().filter(|(_, all)| all.len() > 1) {
            let named = Index::of(self.directory).entry(address)?;
            let claim = |number: &usize| {
                let name = records[*number].id.file_name();
                let written = fs::metadata(self.directory.join(&name)).and_then(|m| m.modified());
                (named.as_ref() == Some(&name), written.ok())
            };
            let owner = holders.iter().copied().max_by_key(claim);
            for loser in holders.into_iter().filter(|number| Some(*number) != owner) {
                records[loser].addresses.retain(|held| *held != address);
                self.put(&records[loser])?;
            }
        }
        Ok(())
    }

    /// Records of other attachments that hold one of these addresses now. Reads no other, unless the store has no index yet.
    pub fn others_holding(
        &self,
        addresses: &BTreeSet<IpAddr>,
        id: &AttachmentId,
    ) -> Result<Vec<Record>, StoreError> {
        let index = Index::of(self.directory);
        let mut records = if index.is_there() {
            let mut names = BTreeSet::new();
            for address in addresses {
                names.extend(index.entry(*address)?);
            }
            let mut records = Vec::new();
            for name in names {
                records.extend(self.named(&name)?);
            }
            records
        } else {
            self.read_all()?.records
        };
        let holds = |record: &Record| record.addresses.iter().any(|a| addresses.contains(a));
        records.retain(|record| record.id != *id && holds(record));
        Ok(records)
    }

    /// Removes what was set aside and what a writer that died left half written.
    pub fn sweep(&self) -> Result<(), StoreError> {
        files::sweep(self.directory)
    }
}

fn is_record(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(SUFFIX)
}

/// Where each address is.
fn entries_of(records: &[Record]) -> Entries {
    let entries = records.iter().flat_map(|record| {
        let name = record.id.file_name();
        let of_address = move |address: &IpAddr| (*address, name.clone());
        record.addresses.iter().map(of_address)
    });
    entries.collect()
}
