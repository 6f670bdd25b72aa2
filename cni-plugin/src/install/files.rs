//! Files that are whole at every moment.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::InstallError;

/// Puts a file there in place of another, at once. Its first name begins with a dot and has no ending that a runtime reads.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.sluice-new"));
    let written = (|| {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&unfinished)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        // A node that loses power must not come back with an empty configuration.
        file.sync_all()?;
        drop(file);
        fs::rename(&unfinished, path)
    })();
    written.map_err(|error| {
        // The error that led here is told.
        let _ = fs::remove_file(&unfinished);
        InstallError::io("write", path, error)
    })
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
