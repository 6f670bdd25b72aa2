//! What is left of attachments on disk where no agent will run any more.

use std::fs;
use std::io;
use std::path::Path;

use sluice_attachment::store::Store;

use super::socket;

/// The CNI plugin's records, in the directory of what outlives a reboot.
pub const RECORDS: &str = "attachments";

/// Removes the socket, and the directory of records if there is none: those that are there belong to pods, and the plugin removes them.
pub fn forget(run_dir: &Path, state_dir: &Path) -> io::Result<()> {
    absent_is_well(fs::remove_file(socket::path(run_dir)))?;
    Store::remove_if_empty(&state_dir.join(RECORDS)).map_err(io::Error::other)
}

fn absent_is_well(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_pods_stay_and_all_else_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        forget(path, path).unwrap();
        fs::create_dir(path.join(RECORDS)).unwrap();
        let record = path.join(RECORDS).join("pod.json");
        for file in [
            socket::path(path),
            path.join(RECORDS).join(".lock"),
            record.clone(),
        ] {
            fs::write(file, "").unwrap();
        }
        forget(path, path).unwrap();
        assert!(record.exists() && !socket::path(path).exists());
        fs::remove_file(record).unwrap();
        forget(path, path).unwrap();
        assert!(!path.join(RECORDS).exists());
    }
}
