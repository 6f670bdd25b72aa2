//! Runs a command in a throw-away virtual machine; also a runner for cargo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use sluice_e2e::cache;
use sluice_e2e::vm::{self, DEFAULT_KERNEL, Disk, End, Guest, Kernel, Report, Share, VmError};
use tokio::signal::unix::{SignalKind, signal};

/// The guest died before the command ended.
const DIED: u8 = 120;
/// The time was over.
const TIMED_OUT: u8 = 124;
/// The guest could not be had.
const LAB_FAILED: u8 = 125;

/// Passed on to the guest by themselves.
const PASSED: [&str; 6] = ["PATH", "TERM", "LANG", "LD_LIBRARY_PATH", "CI", "NO_COLOR"];
/// Passed on to the guest when they begin so.
const PASSED_PREFIXES: [&str; 4] = ["SLUICE_", "RUST", "CARGO", "PROPTEST_"];
/// How many times slower than the host an emulated guest is, for tests that put load on it; under load, with a margin.
const EMULATED_PACE: (&str, &str) = ("SLUICE_PACE", "6");

/// Runs commands and test binaries in a throw-away virtual machine with a full kernel.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where kernels and the logs of failed runs are kept
    #[arg(long, global = true, env = "SLUICE_VM_CACHE")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Downloads and unpacks a kernel, unless its newest is there
    Prepare {
        /// A package that apt knows, or ubuntu-5.4
        #[arg(long, env = "SLUICE_VM_KERNEL", default_value = DEFAULT_KERNEL)]
        kernel: String,
    },
    /// Boots a guest, runs a command in it, and ends with the command's status
    ///
    /// The statuses 120 (the guest died), 124 (timeout) and 125 (no guest could be had) come with a line on standard
    /// error that says so and names the console log.
    Run(Box<RunArguments>),
    /// Inside a guest: runs what the host asked for
    #[command(hide = true)]
    Guest,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// A package that apt knows, or ubuntu-5.4
    #[arg(long, env = "SLUICE_VM_KERNEL", default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// QEMU's accelerator: tcg, or kvm where it works
    #[arg(long, env = "SLUICE_VM_ACCEL", default_value = "tcg")]
    accel: String,
    /// Processors
    #[arg(long, env = "SLUICE_VM_CPUS", default_value_t = 1)]
    cpus: u8,
    /// Memory in MiB
    #[arg(long, env = "SLUICE_VM_MEMORY", default_value_t = 2048)]
    memory: u32,
    /// Seconds until a run is given up, boot included
    #[arg(long, env = "SLUICE_VM_TIMEOUT", default_value_t = 300)]
    timeout: u64,
    /// A directory to show in the guest: HOST[:GUEST][:rw]; the guest's writes are forgotten without :rw
    #[arg(long, value_name = "HOST[:GUEST][:rw]")]
    share: Vec<String>,
    /// A file with an ext4 file system, and where the guest has it; the guest's writes are forgotten
    #[arg(long, value_name = "FILE:DIRECTORY")]
    disk: Vec<String>,
    /// A variable for the command; RUST*, CARGO*, SLUICE_*, CI and a few more pass by themselves
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Modules to load first
    #[arg(long, value_delimiter = ',')]
    modules: Vec<String>,
    /// More kernel parameters, such as `ip_vs.conn_tab_bits=8`
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Where to write how it went, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("want NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What `--report` writes.
#[derive(Debug, Serialize)]
struct Written<'a> {
    /// `exited`, `died`, `timeout`, `lab` or `interrupted`.
    end: &'static str,
    status: u8,
    reason: Option<&'a str>,
    kernel: Option<&'a str>,
    boot_seconds: Option<f64>,
    total_seconds: Option<f64>,
    console: Option<&'a Path>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match act(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("sluice-vm: {error:#}");
            ExitCode::from(LAB_FAILED)
        }
    }
}

fn act(arguments: Arguments) -> anyhow::Result<u8> {
    let cache = match arguments.cache {
        Some(cache) => cache,
        None => cache::directory("vm").context("no home directory: say where with --cache")?,
    };
    let cache = std::path::absolute(cache)?;
    match arguments.action {
        Action::Prepare { kernel } => {
            println!("{}", Kernel::prepare(&cache, &kernel)?.release());
            Ok(0)
        }
        Action::Run(run) => {
            // Before signals are listened to: it takes no notice of them.
            let kernel = Kernel::get(&cache, &run.kernel);
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(run_or_interrupted(*run, kernel, &cache))
        }
        Action::Guest => {
            vm::guest_side::run()?;
            Ok(0)
        }
    }
}

async fn run_or_interrupted(
    arguments: RunArguments,
    kernel: Result<Kernel, VmError>,
    cache: &Path,
) -> anyhow::Result<u8> {
    let report = arguments.report.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let written = tokio::select! {
        result = in_guest(arguments, kernel, cache) => return finished(result, report.as_deref()),
        _ = interrupt.recv() => ended("interrupted", 130),
        _ = terminate.recv() => ended("interrupted", 143),
    };
    write_report(report.as_deref(), &written)?;
    Ok(written.status)
}

async fn in_guest(
    arguments: RunArguments,
    kernel: Result<Kernel, VmError>,
    cache: &Path,
) -> anyhow::Result<(Report, String)> {
    let kernel = kernel?;
    let shares = arguments.share.iter().map(|share| share.parse());
    let disks = arguments.disk.iter().map(|disk| disk.parse());
    let guest = Guest {
        command: arguments.command,
        environment: environment(arguments.env, arguments.accel == "tcg"),
        directory: std::env::current_dir()?,
        guest_side: std::env::current_exe()?,
        cpus: arguments.cpus,
        memory_mib: arguments.memory,
        timeout: Duration::from_secs(arguments.timeout),
        shares: shares.collect::<Result<Vec<Share>, _>>()?,
        disks: disks.collect::<Result<Vec<Disk>, _>>()?,
        modules: arguments.modules,
        kernel_parameters: arguments.append,
        accelerator: arguments.accel,
    };
    let (stdout, stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let report = vm::run(&guest, &kernel, cache, stdout, stderr).await?;
    Ok((report, kernel.release().to_owned()))
}

fn environment(more: Vec<(String, String)>, emulated: bool) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsString| {
        let name = name.to_string_lossy();
        PASSED.contains(&&*name)
            || PASSED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let more = more
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    let (pace, slower) = EMULATED_PACE;
    let pace = emulated.then(|| (pace.into(), slower.into()));
    pace.into_iter()
        .chain(std::env::vars_os().filter(|(name, _)| passes(name)))
        .chain([("HOME".into(), "/root".into())])
        .chain(more)
        .collect()
}

fn ended(end: &'static str, status: u8) -> Written<'static> {
    Written {
        end,
        status,
        reason: None,
        kernel: None,
        boot_seconds: None,
        total_seconds: None,
        console: None,
    }
}

/// Tells how it ended, and returns the status to end with.
fn finished(result: anyhow::Result<(Report, String)>, report: Option<&Path>) -> anyhow::Result<u8> {
    let (run, kernel) = match result {
        Ok(run) => run,
        Err(error) => {
            let reason = format!("{error:#}");
            let written = Written {
                reason: Some(&reason),
                ..ended("lab", LAB_FAILED)
            };
            write_report(report, &written)?;
            return Err(error);
        }
    };
    let (end, status, reason) = match &run.end {
        End::Exited(status) => ("exited", *status, None),
        End::Died(reason) => ("died", DIED, Some(format!("the guest died: {reason}"))),
        End::TimedOut => ("timeout", TIMED_OUT, Some("timeout".to_owned())),
    };
    if let Some(reason) = &reason {
        let console = run.console.as_deref().unwrap_or(Path::new("none"));
        eprintln!("sluice-vm: {reason}; console log: {}", console.display());
    }
    let written = Written {
        reason: reason.as_deref(),
        kernel: Some(&kernel),
        boot_seconds: run.boot.map(|boot| boot.as_secs_f64()),
        total_seconds: Some(run.total.as_secs_f64()),
        console: run.console.as_deref(),
        ..ended(end, status)
    };
    write_report(report, &written)?;
    Ok(status)
}

fn write_report(file: Option<&Path>, written: &Written<'_>) -> anyhow::Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    let json = serde_json::to_vec_pretty(written)?;
    std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
}
