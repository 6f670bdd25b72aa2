//! Files that are whole at every moment.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::InstallError;

/// Of files that are not whole yet: a runtime reads none that ends so.
const UNFINISHED: &str = ".sluice-new";

/// Puts a file there in place of another, at once.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    let unfinished = beside(path);
    let replaced = write(&unfinished, bytes, mode).and_then(|()| fs::rename(&unfinished, path));
    replaced.map_err(|error| not_written(path, &unfinished, error))
}

/// The same where the file still has these bytes; returns whether it had. To write takes a while, in which its owner may write too.
pub(super) fn replace_unchanged(
    path: &Path,
    present: &[u8],
    bytes: &[u8],
    mode: u32,
) -> Result<bool, InstallError> {
    let unfinished = beside(path);
    let replaced = write(&unfinished, bytes, mode).and_then(|()| {
        let is_present = fs::read(path).is_ok_and(|found| found == present);
        if is_present {
            fs::rename(&unfinished, path)?;
        } else {
            fs::remove_file(&unfinished)?;
        }
        Ok(is_present)
    });
    replaced.map_err(|error| not_written(path, &unfinished, error))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    // A node that loses power must not come back with an empty configuration.
    file.sync_all()
}

/// The error that led here is told, not one on the way back.
fn not_written(path: &Path, unfinished: &Path, error: io::Error) -> InstallError {
    let _ = fs::remove_file(unfinished);
    InstallError::io("write", path, error)
}

/// Removes what an installer that was killed left unfinished in a directory.
pub(super) fn sweep(directory: &Path) -> Result<(), InstallError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| InstallError::io("list", directory, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| InstallError::io("list", directory, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(UNFINISHED) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// That it is gone already is no error.
pub(super) fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(InstallError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("10-main.conflist");
        fs::write(&path, "of the owner").unwrap();
        assert!(!replace_unchanged(&path, b"older", b"ours", 0o644).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"of the owner");
        assert!(replace_unchanged(&path, b"of the owner", b"ours", 0o644).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        fs::remove_file(&path).unwrap();
        assert!(!replace_unchanged(&path, b"ours", b"again", 0o644).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
