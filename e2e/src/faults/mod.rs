//! The real agent on a lab's node, to be killed, started again, and hindered by wrappers around its programs.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::lab::{LabError, Namespace};
use crate::packets::build::NODE_NAME;

const HEALTHZ: u16 = 10256;
const METRICS: u16 = 10249;
/// How long one of its HTTP answers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Errors of [`FaultyAgent`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultyAgentError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Files or processes.
    #[error("the agent's files or processes")]
    Io(#[from] io::Error),
}

/// An agent with its manifests and directories, which outlive its process. Killed when dropped.
#[derive(Debug)]
pub struct FaultyAgent {
    program: PathBuf,
    directory: TempDir,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl FaultyAgent {
    /// Directories for an agent; nothing runs yet.
    pub fn new(program: &Path, flags: &[&str]) -> Result<Self, FaultyAgentError> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join("manifests"))?;
        std::fs::create_dir(directory.path().join("bin"))?;
        Ok(Self {
            program: program.to_owned(),
            directory,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            environment: Vec::new(),
            child: None,
        })
    }

    /// A path of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets a variable of its environment, from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Puts a shell script in the place of a program that the agent runs, from the next start on.
    pub fn replace_program(&mut self, name: &str, script: &str) -> Result<(), FaultyAgentError> {
        let bin = self.path("bin");
        write_script(&bin.join(name), script)?;
        let path = std::env::var("PATH").unwrap_or_default();
        self.set_environment("PATH", &format!("{}:{path}", bin.display()));
        Ok(())
    }

    /// Starts it by a shell script from the next start on.
    pub fn wrap(&mut self, script: &str) -> Result<(), FaultyAgentError> {
        self.program = self.path("wrapper");
        Ok(write_script(&self.program, script)?)
    }

    /// Puts a manifest in place as a whole.
    pub fn write(&self, file: &str, text: &str) -> Result<(), FaultyAgentError> {
        Ok(replace(
            &self.path("beside"),
            &self.path("manifests").join(file),
            text,
        )?)
    }

    /// Starts it.
    pub fn start(&mut self, node: &Namespace) -> Result<(), FaultyAgentError> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let mut command = self.command("run");
        command
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(node.run(move || command.spawn())??);
        Ok(())
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) -> Result<(), FaultyAgentError> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
            self.wait_until_gone()?;
        }
        Ok(())
    }

    /// Where a wrapper was killed, the kernel ends the agent below it a moment later.
    fn wait_until_gone(&self) -> Result<(), FaultyAgentError> {
        let Ok(mut lock) = std::fs::File::open(self.path("run").join("agent.lock")) else {
            return Ok(());
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(_) => return Ok(()),
                Err((_, errno)) if Instant::now() > deadline => {
                    return Err(io::Error::from(errno).into());
                }
                Err((held, _)) => lock = held,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The answer of `/healthz`, head and body; empty where nobody answers.
    pub fn health(&self, node: &Namespace) -> Result<String, FaultyAgentError> {
        Ok(node.run(|| get(HEALTHZ, "/healthz").unwrap_or_default())?)
    }

    /// `/healthz` says 200.
    pub fn is_healthy(&self, node: &Namespace) -> Result<bool, FaultyAgentError> {
        Ok(self.health(node)?.split_whitespace().nth(1) == Some("200"))
    }

    /// The sum of a metric over all its labels; zero where it is not told.
    pub fn metric(&self, node: &Namespace, name: &str) -> Result<f64, FaultyAgentError> {
        let text = node.run(|| get(METRICS, "/metrics").unwrap_or_default())?;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// What `render --diff` prints: how the kernel differs from the manifests. Where it fails, why.
    pub fn difference(&self, node: &Namespace) -> Result<String, FaultyAgentError> {
        let mut command = self.command("render");
        command.arg("--diff");
        let output = node.run(move || command.output())??;
        let says_so = matches!(output.status.code(), Some(0 | 1));
        let text = if says_so {
            output.stdout
        } else {
            output.stderr
        };
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Its log, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args([verb, "--node-name", NODE_NAME, "--manifests"])
            .arg(self.path("manifests"))
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("RUST_LOG");
        command
    }
}

impl Drop for FaultyAgent {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.kill();
    }
}

/// Writes a file beside the place, then moves it there: readers never see half a file.
pub fn replace(beside: &Path, place: &Path, text: &str) -> io::Result<()> {
    std::fs::write(beside, text)?;
    std::fs::rename(beside, place)
}

fn write_script(file: &Path, script: &str) -> io::Result<()> {
    std::fs::write(file, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
