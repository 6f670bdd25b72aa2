//! The initramfs of one run: `init.sh`, busybox, the modules needed to boot, and what to do.

use std::path::{Path, PathBuf};

use super::error::{VmError, failed};

const INIT: &str = include_str!("init.sh");
const BUSYBOX: &str = "/bin/busybox";

/// A cpio archive in the "newc" format
/// (kernel documentation, `driver-api/early-userspace/buffer-format.rst`).
#[derive(Debug, Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// An archive with `/init` and `/bin/busybox`, which must be a static one.
    pub(super) fn with_init() -> Result<Self, VmError> {
        let mut archive = Self::default();
        archive.directory("bin");
        archive.directory("modules");
        archive.program("init", INIT.as_bytes());
        archive.program("bin/busybox", &read(Path::new(BUSYBOX))?);
        Ok(archive)
    }

    /// Adds the modules to load before the root file system is there, in that order.
    pub(super) fn add_boot_modules(&mut self, modules: &[PathBuf]) -> Result<(), VmError> {
        let mut order = String::new();
        for module in modules {
            let Some(name) = module.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            self.file(&format!("modules/{name}"), &read(module)?);
            order.push_str(name);
            order.push('\n');
        }
        self.file("boot-modules", order.as_bytes());
        Ok(())
    }

    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn program(&mut self, name: &str, body: &[u8]) {
        self.entry(name, 0o100_755, body);
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, body: &[u8]) {
        self.entry(name, 0o100_644, body);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, body: &[u8]) {
        self.entries += 1;
        let (inode, size, name_size) = (self.entries, body.len(), name.len() + 1);
        // magic, inode, mode, uid, gid, links, mtime, size, device and rdevice (major, minor), name size, checksum
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(body);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, VmError> {
    std::fs::read(path).map_err(failed(format!("read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_of_110_bytes_then_name_and_body_padded_to_four() {
        let mut archive = Initramfs::default();
        archive.file("job", b"12345");
        assert_eq!(archive.bytes.len(), 116 + 8);
        assert_eq!(&archive.bytes[..6], b"070701");
        assert_eq!(&archive.bytes[54..62], b"00000005", "size of the body");
        assert_eq!(&archive.bytes[94..102], b"00000004", "size of the name");
        assert_eq!(&archive.bytes[110..], b"job\0\0\x0012345\0\0\0");
    }
}
