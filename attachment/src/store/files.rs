//! The files of a store: how they are named, written, read and set aside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Corrupt, StoreError};
use crate::{AttachmentId, Record};

pub(super) const SUFFIX: &str = ".json";
const ASIDE: &str = ".corrupt";
const UNFINISHED: &str = ".new";
/// No record comes near it.
const MAX_BYTES: u64 = 256 * 1024;
/// More than most records have: the agent reads all of a node's, and each is read at once.
const USUAL_BYTES: usize = 1024;

/// What a path holds.
pub(super) enum Read {
    Record(Box<Record>),
    /// It was no record, and has been renamed.
    Corrupt(Corrupt),
    Nothing,
}

pub(super) fn write(directory: &Path, record: &Record) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(record).map_err(StoreError::Unwritable)?;
    let unfinished = unfinished(directory, &record.id);
    let path = directory.join(record.id.file_name());
    let written = write_new(&unfinished, &bytes)
        .map_err(|source| StoreError::io("write", &unfinished, source))
        .and_then(|()| {
            fs::rename(&unfinished, &path).map_err(|e| StoreError::io("replace", &path, e))
        });
    if written.is_err() {
        // On a full disk each byte counts; that it stays is not worse than what is reported.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    // Not synced to the disk, which would take longer than all else at an attachment. A machine that loses power may have an empty file then,
    // which is set aside; what the record was about, sandbox and kernel, is gone with the power too.
    file.write_all(bytes)
}

pub(super) fn read(path: &Path) -> Result<Read, StoreError> {
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Read::Nothing),
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return set_aside(path, "a directory".to_owned());
        }
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    match understood(path, &bytes) {
        Ok(record) => Ok(Read::Record(Box::new(record))),
        Err(reason) => set_aside(path, reason),
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn understood(path: &Path, bytes: &[u8]) -> Result<Record, String> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("longer than {MAX_BYTES} bytes"));
    }
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if path.file_name() == Some(record.id.file_name().as_ref()) {
        Ok(record)
    } else {
        Err(format!("the record of another attachment, {}", record.id))
    }
}

fn set_aside(path: &Path, reason: String) -> Result<Read, StoreError> {
    let aside = with_ending(path, ASIDE);
    fs::rename(path, &aside).map_err(|source| StoreError::io("set aside", path, source))?;
    Ok(Read::Corrupt(Corrupt {
        path: aside,
        reason,
    }))
}

pub(super) fn remove(directory: &Path, id: &AttachmentId) -> Result<(), StoreError> {
    let path = directory.join(id.file_name());
    remove_file(&path)?;
    remove_file(&unfinished(directory, id))?;
    remove_file(&with_ending(&path, ASIDE))
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            Ok(())
        }
        removed => removed.map_err(|source| StoreError::io("remove", path, source)),
    }
}

pub(super) fn sweep(directory: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("list", directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let left = [ASIDE, UNFINISHED].iter().any(|ending| {
            path.as_os_str()
                .as_encoded_bytes()
                .ends_with(ending.as_bytes())
        });
        if left {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Begins with a dot, which no container id does.
fn unfinished(directory: &Path, id: &AttachmentId) -> PathBuf {
    directory.join(format!(".{}{UNFINISHED}", id.file_name()))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
