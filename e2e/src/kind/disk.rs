//! The daemon's images as a disk for a virtual machine, which would take minutes to load them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{Daemon, end_of};
use super::error::{KindError, failed};
use super::pod_images::PodImage;
use super::programs::Program;
use super::{key, node_image};
use crate::cache;

/// With room for what three nodes write; on the host the file takes what is in it.
const SIZE: &str = "12G";
const PREFIX: &str = "disk-";
const SUFFIX: &str = ".ext4";

/// A file with an ext4 file system, and the directory where a guest has to have it so that a cluster needs no building there.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The file.
    pub file: PathBuf,
    /// The directory: the daemon's, for the same `HOME` and `XDG_CACHE_HOME` as here.
    pub directory: PathBuf,
}

impl Disk {
    /// The disk with the image of nodes that have these images for pods; made now where there is none, and the image before it.
    pub fn prepare(pods: &[PodImage]) -> Result<Self, KindError> {
        // A guest could not build these.
        for program in [Program::Kind, Program::Bridge] {
            program.get()?;
        }
        let home = cache::directory("kind").ok_or(KindError::NoCache)?;
        let image = node_image::built_name(pods)?;
        let disk = Self {
            file: home.join(format!("{PREFIX}{}{SUFFIX}", key(&[&image]))),
            directory: Daemon::images(&home),
        };
        if !disk.file.is_file() {
            node_image::get_built(&Daemon::start(&[])?, pods)?;
            // No daemon may write meanwhile.
            let _lock = cache::lock(&home).map_err(failed(format!("lock {}", home.display())))?;
            remove_others(&home)?;
            disk.make(&home)?;
        }
        Ok(disk)
    }

    fn make(&self, home: &Path) -> Result<(), KindError> {
        let new = home.join("disk.new");
        let _ = std::fs::remove_file(&new);
        let output = Command::new("mke2fs")
            // A journal would be of use to nobody: what a guest writes is forgotten.
            .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"])
            .arg("-d")
            .args([&self.directory, &new])
            .arg(SIZE)
            .output()
            .map_err(failed("run mke2fs"))?;
        if !output.status.success() {
            return Err(KindError::Program {
                command: format!("mke2fs -d {}", self.directory.display()),
                message: end_of(&String::from_utf8_lossy(&output.stderr)),
            });
        }
        std::fs::rename(&new, &self.file).map_err(failed(format!("make {}", self.file.display())))
    }
}

/// Disks with earlier node images.
fn remove_others(home: &Path) -> Result<(), KindError> {
    let cannot = || failed(format!("remove old disks in {}", home.display()));
    for entry in std::fs::read_dir(home).map_err(cannot())?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            std::fs::remove_file(entry.path()).map_err(cannot())?;
        }
    }
    Ok(())
}
