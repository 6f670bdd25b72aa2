//! The real `sluice-agent` on a node of a lab: started, killed, started again, asked, hindered.
//!
//! ```no_run
//! use std::{path::Path, time::Duration};
//! use sluice_e2e::{agent_process::AgentProcess, lab::Namespace};
//!
//! let node = Namespace::new("node")?;
//! let mut agent = AgentProcess::new(Path::new("target/release/sluice-agent"), "node-a")?;
//! agent.add_flags(&["--iptables-variant", "nft"]);
//! agent.set_environment("RUST_LOG", "debug");
//! agent.write("services.yaml", "# Services, slices, a policy")?;
//! agent.start(&node)?;
//! agent.wait_until_healthy(&node, Duration::from_secs(20))?;
//! # Ok::<(), sluice_e2e::agent_process::AgentProcessError>(())
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::lab::Namespace;
use crate::lab::pace::stretched;

mod error;
mod hindrance;
mod questions;

pub use error::AgentProcessError;

/// How long a child that another thread has just made may hold files of this process.
const HELD_FOR: Duration = Duration::from_secs(1);
/// How long an agent whose wrapper was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// An agent with manifests, state, lock and log in a directory of its own, which outlives its process. Killed when dropped.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    directory: TempDir,
    node_name: String,
    /// The kubeconfig that it goes by; absent: its manifests.
    kubeconfig: Option<PathBuf>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl AgentProcess {
    /// Directories for an agent without manifests; nothing runs yet.
    pub fn new(program: &Path, node_name: &str) -> Result<Self, AgentProcessError> {
        let failed = || AgentProcessError::io("make a directory for the agent");
        let directory = tempfile::tempdir().map_err(failed())?;
        std::fs::create_dir(directory.path().join("manifests")).map_err(failed())?;
        Ok(Self {
            program: program.to_owned(),
            directory,
            node_name: node_name.to_owned(),
            kubeconfig: None,
            flags: Vec::new(),
            environment: Vec::new(),
            child: None,
        })
    }

    /// The same for an agent that serves the cluster of a kubeconfig.
    pub fn with_kubeconfig(
        program: &Path,
        node_name: &str,
        kubeconfig: &Path,
    ) -> Result<Self, AgentProcessError> {
        let mut agent = Self::new(program, node_name)?;
        agent.kubeconfig = Some(kubeconfig.to_owned());
        Ok(agent)
    }

    /// Lets it go by another kubeconfig, from the next start on.
    pub fn set_kubeconfig(&mut self, kubeconfig: &Path) {
        self.kubeconfig = Some(kubeconfig.to_owned());
    }

    /// Adds flags that every subcommand of it takes, from the next start on.
    pub fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
    }

    /// Sets a variable of its environment, from the next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where its manifests are.
    pub fn manifests(&self) -> PathBuf {
        self.path("manifests")
    }

    /// Puts a manifest in place as a whole.
    pub fn write(&self, file: &str, text: &str) -> Result<(), AgentProcessError> {
        replace(&self.path("beside"), &self.manifests().join(file), text)
            .map_err(AgentProcessError::io(format!("write the manifest {file}")))
    }

    /// Starts it. It adds to the log of earlier starts.
    pub fn start(&mut self, node: &Namespace) -> Result<(), AgentProcessError> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .map_err(AgentProcessError::io("open the agent's log"))?;
        let mut command = self.command("run");
        command
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = node
            .run(move || spawn(&mut command))?
            .map_err(self.cannot_run())?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) -> Result<(), AgentProcessError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let killed = child
            .kill()
            .and_then(|()| child.wait())
            .and_then(|_| self.wait_until_gone());
        killed.map_err(AgentProcessError::io("kill the agent"))
    }

    /// Where a wrapper was killed, the kernel ends the agent below it a moment later.
    fn wait_until_gone(&self) -> io::Result<()> {
        let Ok(mut lock) = std::fs::File::open(self.path("run").join("agent.lock")) else {
            return Ok(());
        };
        let deadline = Instant::now() + stretched(GONE_WITHIN);
        loop {
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(_) => return Ok(()),
                Err((_, errno)) if Instant::now() > deadline => return Err(errno.into()),
                Err((held, _)) => lock = held,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its log, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([subcommand, "--node-name", &self.node_name]);
        match &self.kubeconfig {
            Some(kubeconfig) => command.arg("--kubeconfig").arg(kubeconfig),
            None => command.arg("--manifests").arg(self.manifests()),
        };
        command
            .args(&self.flags)
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn cannot_run(&self) -> impl FnOnce(io::Error) -> AgentProcessError + use<> {
        AgentProcessError::io(format!("run {}", self.program.display()))
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.kill();
    }
}

/// A wrapper that was written a moment ago counts as busy as long as a child of another thread, which has not run its own program yet, holds it open.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let deadline = Instant::now() + stretched(HELD_FOR);
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < deadline => {}
            spawned => return spawned,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a file beside the place, then moves it there, as editors do: readers never see half a file.
pub fn replace(beside: &Path, place: &Path, text: &str) -> io::Result<()> {
    std::fs::write(beside, text)?;
    std::fs::rename(beside, place)
}
