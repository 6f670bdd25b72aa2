//! The real `sluice-agent`, running on a node of a lab.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::lab::{LabError, Namespace};

/// Errors of [`AgentProcess`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentProcessError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It did not say that it is healthy.
    #[error("the agent is not healthy after {} s; it says: {answer}; its log ends: {log}", .patience.as_secs())]
    NotHealthy {
        /// How long we waited.
        patience: Duration,
        /// Its last answer.
        answer: String,
        /// The end of its log.
        log: String,
    },
    /// It said no.
    #[error("`sluice-agent {command}` failed: {message}")]
    Refused {
        /// What was asked.
        command: String,
        /// What it said.
        message: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentProcessError {
    move |source| AgentProcessError::Io {
        what: what.into(),
        source,
    }
}

/// A running agent with manifests, state and lock in a directory of its own. Killed when dropped.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    directory: TempDir,
    node_name: String,
    child: Child,
}

impl AgentProcess {
    /// Starts an agent on a node, with no manifests yet but those that `fill` writes.
    pub fn start(
        node: &Namespace,
        program: &Path,
        node_name: &str,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, AgentProcessError> {
        let directory = tempfile::tempdir().map_err(failed("make a directory for the agent"))?;
        let manifests = directory.path().join("manifests");
        std::fs::create_dir(&manifests).map_err(failed("make the directory of the manifests"))?;
        fill(&manifests).map_err(failed("write manifests"))?;
        let log = std::fs::File::create(directory.path().join("log"))
            .map_err(failed("make the agent's log"))?;
        let mut command = Command::new(program);
        command
            .arg("run")
            .args(flags(directory.path(), node_name))
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .arg("--run-dir")
            .arg(directory.path().join("run"))
            .args(["--healthz-bind-address", "127.0.0.1:10256"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = node
            .run(move || command.spawn())?
            .map_err(failed(format!("start {}", program.display())))?;
        Ok(Self {
            program: program.to_owned(),
            directory,
            node_name: node_name.to_owned(),
            child,
        })
    }

    /// Waits until `/healthz` says 200.
    pub fn wait_until_healthy(
        &self,
        node: &Namespace,
        patience: Duration,
    ) -> Result<(), AgentProcessError> {
        let start = Instant::now();
        let mut answer = "nothing".to_owned();
        while start.elapsed() < patience {
            if let Ok(got) = node.run(|| get(10256, "/healthz"))? {
                if got.split_whitespace().nth(1) == Some("200") {
                    return Ok(());
                }
                answer = got;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(AgentProcessError::NotHealthy {
            patience,
            answer,
            log: self.log_end(),
        })
    }

    /// The text of its metrics.
    pub fn metrics(&self, node: &Namespace) -> Result<String, AgentProcessError> {
        node.run(|| get(10249, "/metrics"))?
            .map_err(failed("ask the agent for its metrics"))
    }

    /// Where its manifests are.
    pub fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }

    /// All that it keeps on disk.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs another subcommand of the agent with the same manifests, and returns what it prints.
    pub fn ask(
        &self,
        node: &Namespace,
        subcommand: &str,
        more: &[&str],
    ) -> Result<String, AgentProcessError> {
        let mut command = Command::new(&self.program);
        command
            .arg(subcommand)
            .args(flags(self.directory.path(), &self.node_name))
            .args(more);
        let output = node
            .run(move || command.output())?
            .map_err(failed(format!("run {}", self.program.display())))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(AgentProcessError::Refused {
            command: subcommand.to_owned(),
            message,
        })
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flags(directory: &Path, node_name: &str) -> [std::ffi::OsString; 4] {
    let manifests = directory.join("manifests").into_os_string();
    [
        "--manifests".into(),
        manifests,
        "--node-name".into(),
        node_name.into(),
    ]
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
