//! Attachments on disk: one small file each, so that they survive a crash and one damaged file costs one attachment.

mod error;
mod files;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::error::StoreError;
use self::files::{Read, SUFFIX};
use crate::{AttachmentId, Record};

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

    /// Waits up to `patience` for the lock.
    pub fn lock(&self, patience: Duration) -> Result<LockedStore<'_>, StoreError> {
        let path = self.directory.join(".lock");
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
    /// Writes a record in place of the one of the same attachment. After a crash there is the old one or the new one.
    pub fn put(&self, record: &Record) -> Result<(), StoreError> {
        files::write(self.directory, record)
    }

    /// The record of an attachment. A file that cannot be read is set aside, and there is no record then.
    pub fn get(&self, id: &AttachmentId) -> Result<Option<Record>, StoreError> {
        match files::read(&self.directory.join(id.file_name()))? {
            Read::Record(record) => Ok(Some(*record)),
            Read::Nothing | Read::Corrupt(_) => Ok(None),
        }
    }

    /// Removes the record of an attachment and what else carries its name. Returns whether there was a record.
    pub fn remove(&self, id: &AttachmentId) -> Result<bool, StoreError> {
        files::remove(self.directory, id)
    }

    /// All records, by file name; those that cannot be read are set aside.
    pub fn list(&self) -> Result<Listing, StoreError> {
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

    /// Records of other attachments that hold this address now.
    pub fn others_holding(
        &self,
        address: IpAddr,
        id: &AttachmentId,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = self.list()?.records;
        records.retain(|record| record.id != *id && record.addresses.contains(&address));
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
