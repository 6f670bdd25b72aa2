//! One run: a guest is made, carries its output out, and is gone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;

use super::disks::{self, Disk};
use super::error::{VmError, failed};
use super::guest_side::Job;
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::machine::{self, Files};
use super::messages::Message;
use super::shares::{self, Share};

/// A guest, and what it is for.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// All of the command's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The command's working directory.
    pub directory: PathBuf,
    /// The program that serves `guest` inside: `sluice-vm` itself.
    pub guest_side: PathBuf,
    /// Processors.
    pub cpus: u8,
    /// Memory in MiB; taken from the host as the guest uses it.
    pub memory_mib: u32,
    /// How long it may take, boot included.
    pub timeout: Duration,
    /// Directories to show besides those that are always there.
    pub shares: Vec<Share>,
    /// Disks that it has.
    pub disks: Vec<Disk>,
    /// Modules to load before the command starts.
    pub modules: Vec<String>,
    /// More kernel parameters, such as `ip_vs.conn_tab_bits=8`.
    pub kernel_parameters: String,
    /// QEMU's `-accel`: `tcg` emulates, `kvm` where it works.
    pub accelerator: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The command's status, as a shell tells it (128 + N for signal N).
    Exited(u8),
    /// The guest died first: what its console says.
    Died(String),
    /// The time was over.
    TimedOut,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// From the start of QEMU to the start of the command.
    pub boot: Option<Duration>,
    /// From the start of QEMU to the end.
    pub total: Duration,
    /// The guest's console, kept unless the command ended by itself.
    pub console: Option<PathBuf>,
}

/// Boots a guest in a directory of its own below `cache`, and carries the command's output to the two writers.
pub async fn run(
    guest: &Guest,
    kernel: &Kernel,
    cache: &Path,
    stdout: impl AsyncWrite + Unpin,
    stderr: impl AsyncWrite + Unpin,
) -> Result<Report, VmError> {
    let directory = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(cache)
        .map_err(failed(format!("make a directory in {}", cache.display())))?;
    let files = Files::new(directory.path());
    std::fs::write(files.initramfs(), initramfs(guest, kernel)?)
        .map_err(failed("write the initramfs"))?;

    let start = Instant::now();
    let (qemu, port) = machine::start(guest, kernel, &files)?;
    let mut run = Run {
        qemu,
        port,
        stdout,
        stderr,
        files: &files,
        start,
        boot: None,
    };
    let result = match tokio::time::timeout(guest.timeout, run.follow()).await {
        Ok(result) => result,
        Err(_) => Ok(End::TimedOut),
    };
    let (boot, total) = (run.boot, start.elapsed());
    // It may be gone already.
    let _ = run.qemu.kill().await;
    let console = match &result {
        Ok(End::Exited(_)) => None,
        Ok(End::Died(_) | End::TimedOut) | Err(_) => {
            let _ = std::fs::remove_file(files.initramfs());
            Some(directory.keep().join("console.log"))
        }
    };
    result.map(|end| Report {
        end,
        boot,
        total,
        console,
    })
}

fn initramfs(guest: &Guest, kernel: &Kernel) -> Result<Vec<u8>, VmError> {
    let job = Job {
        command: guest.command.clone(),
        environment: guest.environment.clone(),
        directory: guest.directory.clone(),
    };
    let job = serde_json::to_vec(&job)
        .map_err(|error| failed("describe the command to the guest")(error.into()))?;

    let own = [
        guest.directory.clone(),
        shares::work_tree(&guest.directory),
        directory_of(&guest.guest_side),
    ];
    let program = guest.command.first().map(PathBuf::from);
    let program = program.filter(|program| program.is_absolute());
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let own = own
        .into_iter()
        .chain(program.as_deref().map(directory_of))
        .chain(target);
    let mut shown = vec![Share {
        host: kernel.modules(),
        guest: "/lib/modules".into(),
        writable: false,
    }];
    shown.extend(shares::of_hidden(own));
    shown.extend(guest.shares.iter().filter(|share| !share.writable).cloned());
    let line = |from: &str, share: &Share| format!("{from}\t{}\n", share.guest.display());
    let read_only: String = shown
        .iter()
        .map(|share| line(&share.host.display().to_string(), share))
        .collect();
    let writable: String = machine::writable(&guest.shares)
        .map(|(tag, share)| line(&tag, share))
        .collect();
    // Each line ends, the last too: a shell reads them.
    let own = disks::modules(&guest.disks).iter().copied();
    let modules = own.chain(guest.modules.iter().map(String::as_str));
    let load: String = modules.flat_map(|module| [module, "\n"]).collect();

    let mut archive = Initramfs::with_init()?;
    archive.add_boot_modules(&kernel.boot_modules()?)?;
    archive.file("job.json", &job);
    archive.file("shares", read_only.as_bytes());
    archive.file("writable-shares", writable.as_bytes());
    archive.file("load", load.as_bytes());
    archive.file("disks", disks::list(&guest.disks).as_bytes());
    archive.file("agent", guest.guest_side.display().to_string().as_bytes());
    Ok(archive.finish())
}

fn directory_of(program: &Path) -> PathBuf {
    program.parent().unwrap_or(Path::new("/")).to_owned()
}

/// A guest at work.
struct Run<'a, Out, Err> {
    qemu: Child,
    port: UnixStream,
    stdout: Out,
    stderr: Err,
    files: &'a Files,
    start: Instant,
    boot: Option<Duration>,
}

impl<Out: AsyncWrite + Unpin, Err: AsyncWrite + Unpin> Run<'_, Out, Err> {
    /// Carries output until the command ends or the guest is gone.
    async fn follow(&mut self) -> Result<End, VmError> {
        while let Some(message) = Message::read(&mut self.port)
            .await
            .map_err(failed("read from the guest"))?
        {
            match message {
                Message::Ready => {
                    self.boot = Some(self.start.elapsed());
                    // QEMU has read it.
                    let _ = std::fs::remove_file(self.files.initramfs());
                }
                Message::Stdout(bytes) => carry(&mut self.stdout, &bytes).await?,
                Message::Stderr(bytes) => carry(&mut self.stderr, &bytes).await?,
                Message::Exited(status) => return Ok(End::Exited(status)),
                Message::Failed(reason) => {
                    return Err(VmError::NotReady {
                        reason,
                        console: self.files.console(),
                    });
                }
            }
        }
        self.why_gone().await
    }

    async fn why_gone(&mut self) -> Result<End, VmError> {
        let status = self.qemu.wait().await.map_err(failed("wait for qemu"))?;
        let console = self.files.console();
        if !status.success() {
            return Err(VmError::Qemu {
                status,
                message: read(&self.files.qemu_log()).trim().to_owned(),
                console,
            });
        }
        let reason = reason(&read(&console));
        if self.boot.is_none() {
            return Err(VmError::NotReady { reason, console });
        }
        Ok(End::Died(reason))
    }
}

async fn carry(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), VmError> {
    let written = to.write_all(bytes).await;
    written.map_err(failed("write output"))?;
    to.flush().await.map_err(failed("write output"))
}

fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The line of the console that says why the machine stopped.
fn reason(console: &str) -> String {
    let telling = ["sluice-vm: ", "Kernel panic", "BUG: ", "Oops"];
    telling
        .iter()
        .find_map(|words| console.lines().find(|line| line.contains(words)))
        .map_or("it was powered off", str::trim)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_most_telling_line_of_the_console() {
        let console = "[ 1.0] BUG: unable to handle\r\n[ 1.1] Kernel panic - not syncing: x\r\n";
        assert_eq!(reason(console), "[ 1.1] Kernel panic - not syncing: x");
        assert_eq!(reason("[ 1.0] reboot: Power down\n"), "it was powered off");
    }
}
