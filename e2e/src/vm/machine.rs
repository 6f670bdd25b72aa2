//! The QEMU process of a guest.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::error::{VmError, failed};
use super::kernel::Kernel;
use super::messages::PORT;
use super::run::Guest;
use super::shares::Share;

/// The files of one run.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    pub(super) fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs")
    }

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    pub(super) fn qemu_log(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }
}

/// Starts QEMU. The returned stream is the guest's port.
pub(super) fn start(
    guest: &Guest,
    kernel: &Kernel,
    files: &Files,
) -> Result<(Child, tokio::net::UnixStream), VmError> {
    let (ours, theirs) = UnixStream::pair().map_err(failed("make a pair of sockets"))?;
    ours.set_nonblocking(true)
        .map_err(failed("make a socket non-blocking"))?;
    let ours = tokio::net::UnixStream::from_std(ours).map_err(failed("wait for a socket"))?;
    let log = std::fs::File::create(files.qemu_log()).map_err(failed("make qemu's log"))?;
    // No guest outlives the process that asked for it, not even when that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"])
        .args(arguments(guest, kernel, files))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    let child = command.spawn().map_err(failed("start setpriv"))?;
    Ok((child, ours))
}

fn arguments(guest: &Guest, kernel: &Kernel, files: &Files) -> Vec<String> {
    let emulated = guest.accelerator == "tcg";
    // Small vectors are quicker to emulate than AVX; without RDRAND the guest waits for randomness.
    let processor = if emulated { "Nehalem,+rdrand" } else { "host" };
    let mut arguments: Vec<String> = [
        // Nothing but what is named here: above all no network device.
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-machine",
        "pc,usb=off",
        "-device",
        "virtio-serial-pci",
        // The socket is standard input.
        "-chardev",
        "socket,id=port,fd=0",
        "-virtfs",
        "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add(
        "-device",
        format!("virtserialport,chardev=port,name={PORT}"),
    );
    add("-serial", format!("file:{}", files.console().display()));
    add("-accel", guest.accelerator.clone());
    add("-cpu", processor.to_owned());
    add("-smp", guest.cpus.to_string());
    add("-m", guest.memory_mib.to_string());
    add("-kernel", kernel.image().display().to_string());
    add("-initrd", files.initramfs().display().to_string());
    add(
        "-append",
        kernel_parameters(emulated, &guest.kernel_parameters),
    );
    for disk in &guest.disks {
        add("-drive", disk.drive());
    }
    for (tag, share) in writable(&guest.shares) {
        let path = share.host.display().to_string().replace(',', ",,");
        add(
            "-virtfs",
            format!("local,path={path},mount_tag={tag},security_model=none,multidevs=remap"),
        );
    }
    arguments
}

/// Writable shares have a device of their own, with this tag.
pub(super) fn writable(shares: &[Share]) -> impl Iterator<Item = (String, &Share)> {
    let writable = shares.iter().filter(|share| share.writable);
    writable
        .enumerate()
        .map(|(n, share)| (format!("writable{n}"), share))
}

fn kernel_parameters(emulated: bool, more: &str) -> String {
    // A panic ends the machine (`-no-reboot`), and an oops is one.
    let mut parameters =
        "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off no_timer_check"
            .to_owned();
    if emulated {
        // QEMU translates the C library anew for every process whose addresses differ: 4 times slower to start one.
        // The self-tests of ciphers take a second of the boot.
        parameters.push_str(" norandmaps cryptomgr.notests");
    }
    if !more.is_empty() {
        parameters.push(' ');
        parameters.push_str(more);
    }
    parameters
}
