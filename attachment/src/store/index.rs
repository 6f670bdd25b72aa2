//! Which record holds an address: a directory with one symbolic link an address, named after it, that leads to the record's file.
//!
//! A link says something only while the record that it leads to holds the address. So links are made before a record is written and
//! removed after it, and whatever a writer that dies leaves means nothing.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use super::StoreError;

pub(super) const DIRECTORY: &str = "by-address";
/// One that is being made, and one that was replaced.
const NEXT: &str = ".by-address.new";
const LAST: &str = ".by-address.old";
/// From the index to the records, so that a link can be followed.
const UP: &str = "../";

/// What links say: names of records' files, by address.
pub(super) type Entries = BTreeMap<IpAddr, String>;

/// The index of a store.
pub(super) struct Index<'a> {
    store: &'a Path,
    directory: PathBuf,
}

impl<'a> Index<'a> {
    pub(super) fn of(store: &'a Path) -> Self {
        Self {
            store,
            directory: store.join(DIRECTORY),
        }
    }

    /// Stores of earlier versions have none.
    pub(super) fn is_there(&self) -> bool {
        self.directory.is_dir()
    }

    /// Name of the file that the link of this address leads to.
    pub(super) fn entry(&self, address: IpAddr) -> Result<Option<String>, StoreError> {
        let path = self.link(address);
        match fs::read_link(&path) {
            Ok(target) => Ok(name_of(&target)),
            // Nothing is there, or something that is no link.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                Ok(None)
            }
            Err(source) => Err(StoreError::io("read", &path, source)),
        }
    }

    /// Leads an address to a file.
    pub(super) fn point(&self, address: IpAddr, name: &str) -> Result<(), StoreError> {
        if self.entry(address)?.as_deref() == Some(name) {
            return Ok(());
        }
        let path = self.link(address);
        remove(&path)?;
        symlink(target(name), &path).map_err(|source| StoreError::io("make", &path, source))
    }

    /// Removes the link of an address if it leads to this file.
    pub(super) fn withdraw(&self, address: IpAddr, name: &str) -> Result<(), StoreError> {
        if self.entry(address)?.as_deref() == Some(name) {
            remove(&self.link(address))?;
        }
        Ok(())
    }

    /// Removes all links that lead to this file.
    pub(super) fn withdraw_all(&self, name: &str) -> Result<(), StoreError> {
        let entries = self.read()?.entries;
        for (address, _) in entries.iter().filter(|(_, found)| *found == name) {
            remove(&self.link(*address))?;
        }
        Ok(())
    }

    /// Makes the index say this and nothing else.
    pub(super) fn agree(&self, entries: &Entries) -> Result<(), StoreError> {
        let (next, last) = (self.store.join(NEXT), self.store.join(LAST));
        remove(&next)?;
        remove(&last)?;
        let found = self.read()?;
        if self.is_there() && found.is_clean && found.entries == *entries {
            return Ok(());
        }
        make(&next, entries).inspect_err(|_| {
            // On a full disk each byte counts; that it stays is not worse than what is reported.
            let _ = remove(&next);
        })?;
        // Who dies between the two leaves no index, and the next writer makes one.
        match fs::rename(&self.directory, &last) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved.map_err(|e| StoreError::io("move", &self.directory, e))?,
        }
        fs::rename(&next, &self.directory)
            .map_err(|source| StoreError::io("replace", &self.directory, source))?;
        remove(&last)
    }

    fn read(&self) -> Result<Found, StoreError> {
        let failed = |source| StoreError::io("list", &self.directory, source);
        let mut found = Found {
            entries: Entries::new(),
            is_clean: true,
        };
        let listed = match fs::read_dir(&self.directory) {
            Ok(listed) => listed,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(found);
            }
            Err(source) => return Err(failed(source)),
        };
        for entry in listed {
            let path = entry.map_err(failed)?.path();
            match understood(&path) {
                Some((address, name)) => drop(found.entries.insert(address, name)),
                None => found.is_clean = false,
            }
        }
        Ok(found)
    }

    fn link(&self, address: IpAddr) -> PathBuf {
        self.directory.join(address.to_string())
    }
}

struct Found {
    entries: Entries,
    /// There is nothing but links that say something, each under the one name of its address.
    is_clean: bool,
}

fn understood(path: &Path) -> Option<(IpAddr, String)> {
    let link = path.file_name()?.to_str()?;
    let address: IpAddr = link.parse().ok()?;
    if address.to_string() != link {
        return None;
    }
    Some((address, name_of(&fs::read_link(path).ok()?)?))
}

fn make(directory: &Path, entries: &Entries) -> Result<(), StoreError> {
    let made = DirBuilder::new().mode(0o700).create(directory);
    made.map_err(|source| StoreError::io("make the directory", directory, source))?;
    for (address, name) in entries {
        let link = directory.join(address.to_string());
        symlink(target(name), &link).map_err(|source| StoreError::io("make", &link, source))?;
    }
    Ok(())
}

fn target(name: &str) -> String {
    [UP, name].concat()
}

/// Of a record, and of nothing outside the store.
fn name_of(target: &Path) -> Option<String> {
    let name = target.to_str()?.strip_prefix(UP)?;
    (super::is_record(name) && !name.contains('/')).then(|| name.to_owned())
}

/// Whatever is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(path),
        other => other,
    };
    absent_is_well(removed).map_err(|source| StoreError::io("remove", path, source))
}

fn absent_is_well(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
