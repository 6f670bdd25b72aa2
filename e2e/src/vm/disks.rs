//! File systems in files, which a guest has as disks.

use std::path::PathBuf;
use std::str::FromStr;

use super::error::{VmError, failed};

/// An ext4 file system in a file of the host. The guest may change it, and its changes are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub file: PathBuf,
    /// The directory where the guest has it.
    pub guest: PathBuf,
}

impl FromStr for Disk {
    type Err = VmError;

    /// `FILE:DIRECTORY`
    fn from_str(text: &str) -> Result<Self, VmError> {
        let refused = |reason| VmError::Disk {
            disk: text.to_owned(),
            reason,
        };
        let (file, guest) = text
            .split_once(':')
            .ok_or_else(|| refused("want FILE:DIRECTORY"))?;
        if !guest.starts_with('/') || guest.contains([':', '\n', '\t']) {
            return Err(refused("want an absolute path in the guest, without colon"));
        }
        let file = std::fs::canonicalize(file).map_err(failed(format!("find the disk {file}")))?;
        if !file.is_file() {
            return Err(refused("it is not a file"));
        }
        Ok(Self {
            file,
            guest: guest.into(),
        })
    }
}

impl Disk {
    /// QEMU's `-drive`.
    pub(super) fn drive(&self) -> String {
        let file = self.file.display().to_string().replace(',', ",,");
        // What is forgotten needs no care.
        format!("file={file},if=virtio,format=raw,snapshot=on,cache=unsafe")
    }
}

/// What a guest loads for them.
pub(super) fn modules(disks: &[Disk]) -> &'static [&'static str] {
    if disks.is_empty() {
        &[]
    } else {
        &["virtio_blk", "ext4"]
    }
}

/// The disks by the names that the guest's kernel gives them, one a line.
pub(super) fn list(disks: &[Disk]) -> String {
    let line = |(letter, disk): (char, &Disk)| format!("vd{letter}\t{}\n", disk.guest.display());
    ('a'..='z').zip(disks).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_file_and_a_directory_of_the_guest() {
        let disk: Disk = "/etc/hostname:/var/lib/docker".parse().unwrap();
        assert_eq!(disk.guest, PathBuf::from("/var/lib/docker"));
        assert_eq!(list(&[disk]), "vda\t/var/lib/docker\n");
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        for text in [
            "/etc/hostname",
            "/etc:/mnt",
            "/etc/hostname:mnt",
            "/no/such/file:/mnt",
        ] {
            assert!(text.parse::<Disk>().is_err(), "{text}");
        }
    }
}
