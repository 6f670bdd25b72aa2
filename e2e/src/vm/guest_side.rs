//! Inside the guest: runs the command and tells the host what comes of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::{VmError, failed};
use super::messages::{Message, PORT};

/// Where `init.sh` leaves the [`Job`].
const JOB: &str = "/run/sluice-vm/job.json";

/// What a guest is for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Program and arguments.
    pub(super) command: Vec<OsString>,
    /// All of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub(super) directory: PathBuf,
}

/// Runs the job that the host gave to this guest. What the command leaves running is killed, so that its output ends.
pub fn run() -> Result<(), VmError> {
    let port = find_port()?;
    let port = File::options()
        .write(true)
        .open(&port)
        .map_err(failed(format!("open {}", port.display())))?;
    let port = Mutex::new(port);
    let last = match run_job(&port) {
        Ok(status) => Message::Exited(status),
        Err(VmError::Io { what, source }) => Message::Failed(format!("cannot {what}: {source}")),
        Err(error) => Message::Failed(error.to_string()),
    };
    // The host kills the machine at the last message: what it has in its writable shares has to be there by then.
    nix::unistd::sync();
    send(&port, &last)?;
    std::thread::sleep(std::time::Duration::from_secs(60));
    Ok(())
}

fn find_port() -> Result<PathBuf, VmError> {
    let ports = Path::new("/sys/class/virtio-ports");
    let entries = std::fs::read_dir(ports).map_err(failed("list the virtio ports"))?;
    entries
        .flatten()
        .find(|port| {
            std::fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        })
        .map(|port| Path::new("/dev").join(port.file_name()))
        .ok_or_else(|| failed("find the port to the host")(std::io::ErrorKind::NotFound.into()))
}

fn send(port: &Mutex<File>, message: &Message) -> Result<(), VmError> {
    let mut port = port
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    message
        .write(&mut *port)
        .map_err(failed("write to the host"))
}

fn run_job(port: &Mutex<File>) -> Result<u8, VmError> {
    let job = std::fs::read(JOB).map_err(failed(format!("read {JOB}")))?;
    let job: Job = serde_json::from_slice(&job)
        .map_err(|error| failed(format!("understand {JOB}"))(error.into()))?;
    let Some((program, arguments)) = job.command.split_first() else {
        return Err(failed("run nothing")(
            std::io::ErrorKind::InvalidInput.into(),
        ));
    };
    std::env::set_current_dir(&job.directory).map_err(failed(format!(
        "enter {} in the guest",
        job.directory.display()
    )))?;
    send(port, &Message::Ready)?;
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(job.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return not_started(port, program, &error),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| carry(stdout, port, Message::Stdout));
        let stderr = scope.spawn(|| carry(stderr, port, Message::Stderr));
        let status = child.wait().map_err(failed("wait for the command"));
        // All but this process and PID 1; there may be nobody.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        for carrier in [stdout, stderr] {
            carrier.join().unwrap_or_else(|_| {
                Err(failed("carry output")(std::io::ErrorKind::Other.into()))
            })?;
        }
        status.map(as_a_shell_tells_it)
    })
}

/// As a shell does: 127 not found, 126 not to be run.
fn not_started(
    port: &Mutex<File>,
    program: &OsString,
    error: &std::io::Error,
) -> Result<u8, VmError> {
    let line = format!("sluice-vm: cannot run {}: {error}\n", program.display());
    send(port, &Message::Stderr(line.into_bytes()))?;
    Ok(if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}

fn carry(
    from: Option<impl Read>,
    port: &Mutex<File>,
    message: fn(Vec<u8>) -> Message,
) -> Result<(), VmError> {
    let Some(mut from) = from else {
        return Ok(());
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).map_err(failed("read output"))?;
        if length == 0 {
            return Ok(());
        }
        send(port, &message(buffer[..length].to_vec()))?;
    }
}

fn as_a_shell_tells_it(status: ExitStatus) -> u8 {
    let number = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    // A status has eight bits, and signals end at 64.
    u8::try_from(number).unwrap_or(u8::MAX)
}
