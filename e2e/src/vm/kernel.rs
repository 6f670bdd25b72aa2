//! Kernels, unpacked once and kept: `<cache>/<name>` is a symbolic link to what was made of the newest package.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{VmError, failed};
use super::packages;
use crate::cache;
use crate::debian_package::{output, with_new_lists};

/// The kernel of Debian. The one for clouds lacks SCTP and NETEM.
pub const DEFAULT_KERNEL: &str = "linux-image-amd64";

/// What the guest loads before its root file system is there.
const BOOT_MODULES: [&str; 5] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_console",
];

/// A kernel that is ready to start.
#[derive(Debug, Clone)]
pub struct Kernel {
    directory: PathBuf,
    release: String,
}

impl Kernel {
    /// The kernel as it was prepared before, or prepared now.
    ///
    /// `name` is a package that apt knows, such as [`DEFAULT_KERNEL`], or `ubuntu-5.4`: the kernel of Ubuntu 20.04.
    pub fn get(cache: &Path, name: &str) -> Result<Self, VmError> {
        let known = cache.join(name);
        if let Ok(kernel) = Self::open(&known, name) {
            return Ok(kernel);
        }
        let _lock = lock(cache)?;
        // Another process may have made it while this one waited.
        Self::open(&known, name).or_else(|_| Self::make(cache, name))
    }

    /// Downloads and unpacks the newest kernel of this name, unless it is there. Where that fails, the one that was prepared before does.
    pub fn prepare(cache: &Path, name: &str) -> Result<Self, VmError> {
        let _lock = lock(cache)?;
        Self::make(cache, name)
            .or_else(|error| Self::open(&cache.join(name), name).map_err(|_| error))
    }

    /// Under [`lock`].
    fn make(cache: &Path, name: &str) -> Result<Self, VmError> {
        if packages::is_in_lists(name) {
            with_new_lists(|| Self::make_of_known(cache, name))
        } else {
            Self::make_of_known(cache, name)
        }
    }

    /// Of the packages that are known now.
    fn make_of_known(cache: &Path, name: &str) -> Result<Self, VmError> {
        let packages = packages::of_kernel(name)?;
        let [first, ..] = packages.as_slice() else {
            return Err(lacks(name, "package"));
        };
        let id = first.file.trim_end_matches(".deb");
        let directory = cache.join(id);
        if !directory.is_dir() {
            let work = tempfile::tempdir_in(cache).map_err(failed("make a directory"))?;
            for package in &packages {
                package.unpack(work.path())?;
            }
            make_bootable(work.path(), name)?;
            std::fs::rename(work.keep(), &directory)
                .map_err(failed(format!("make {}", directory.display())))?;
        }
        point(&cache.join(name), id)?;
        Self::open(&directory, name)
    }

    fn open(directory: &Path, name: &str) -> Result<Self, VmError> {
        let directory = directory
            .canonicalize()
            .map_err(failed(format!("find {}", directory.display())))?;
        let release = release(&directory, name)?;
        Ok(Self { directory, release })
    }

    /// As `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// What QEMU starts: the kernel unpacked where that could be done, as packed otherwise.
    pub(super) fn image(&self) -> PathBuf {
        let unpacked = self.directory.join("vmlinux");
        if unpacked.is_file() {
            unpacked
        } else {
            self.directory.join("vmlinuz")
        }
    }

    /// The directory that has to be at `/lib/modules`.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules")
    }

    /// Files of the modules to load before the root file system is there, in that order.
    pub(super) fn boot_modules(&self) -> Result<Vec<PathBuf>, VmError> {
        let list = self.directory.join("boot-modules");
        let list =
            std::fs::read_to_string(&list).map_err(failed(format!("read {}", list.display())))?;
        Ok(list.lines().map(|file| self.directory.join(file)).collect())
    }
}

fn lock(cache: &Path) -> Result<File, VmError> {
    cache::lock(cache).map_err(failed(format!("lock {}", cache.display())))
}

fn lacks(name: &str, lacks: &str) -> VmError {
    VmError::NotAKernel {
        name: name.to_owned(),
        lacks: lacks.to_owned(),
    }
}

fn release(directory: &Path, name: &str) -> Result<String, VmError> {
    let modules = directory.join("lib/modules");
    let mut entries =
        std::fs::read_dir(&modules).map_err(failed(format!("list {}", modules.display())))?;
    let release = entries.find_map(|entry| entry.ok()?.file_name().into_string().ok());
    release.ok_or_else(|| lacks(name, "modules"))
}

/// Replaces a symbolic link at once.
fn point(link: &Path, target: &str) -> Result<(), VmError> {
    let new = link.with_extension("new");
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(target, &new)
        .and_then(|()| std::fs::rename(&new, link))
        .map_err(failed(format!("make {}", link.display())))
}

/// In a directory with the packages' files: moves the kernel up, unpacks it, and says which modules it boots with.
fn make_bootable(directory: &Path, name: &str) -> Result<(), VmError> {
    let release = release(directory, name)?;
    for (from, to) in [("vmlinuz", "vmlinuz"), ("config", "config")] {
        std::fs::rename(
            directory.join(format!("boot/{from}-{release}")),
            directory.join(to),
        )
        .map_err(|_| lacks(name, from))?;
    }
    let packed = directory.join("vmlinuz");
    let packed = std::fs::read(&packed).map_err(failed(format!("read {}", packed.display())))?;
    if let Some(kernel) = unpacked(&packed) {
        std::fs::write(directory.join("vmlinux"), kernel).map_err(failed("write vmlinux"))?;
    }
    output(
        Command::new("depmod")
            .arg("-b")
            .arg(directory)
            .arg(&release),
    )?;

    let mut files: Vec<PathBuf> = Vec::new();
    for module in BOOT_MODULES {
        let steps = output(Command::new("modprobe").arg("-d").arg(directory).args([
            "-S",
            &release,
            "--show-depends",
            module,
        ]))?;
        // Others are `builtin NAME`.
        let inserted = steps
            .lines()
            .filter_map(|step| step.strip_prefix("insmod "));
        for file in inserted {
            let file = Path::new(file.trim());
            let file = file.strip_prefix(directory).unwrap_or(file).to_owned();
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let list: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    std::fs::write(directory.join("boot-modules"), list.join("\n") + "\n")
        .map_err(failed("write boot-modules"))
}

/// The ELF file in a bzImage. QEMU starts it directly, which saves the seconds that an emulated machine takes to
/// unpack it. `None` where it is packed with a program that is not there.
///
/// The header is described in the kernel's documentation, `arch/x86/boot.rst`.
fn unpacked(image: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let setup_sectors = usize::from(*image.get(0x1f1)?);
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    let payload = image.get(start..start + word(0x24c)?)?;
    // All but gzip's are followed by the length of what they unpack to.
    let (program, payload) = match payload {
        [0x1f, 0x8b, ..] => ("gzip", payload),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", payload.get(..payload.len() - 4)?),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", payload.get(..payload.len() - 4)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", payload.get(..payload.len() - 4)?),
        _ => return None,
    };
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(payload));
        child.wait_with_output()
    });
    let kernel = output.ok()?.stdout;
    kernel.starts_with(b"\x7fELF").then_some(kernel)
}
