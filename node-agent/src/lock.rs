//! One agent a node: a locked file says so.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Name of the lock file in the run directory.
pub const LOCK_FILE: &str = "agent.lock";

/// Errors of [`AgentLock`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error("another agent runs on this node, {holder} holds {}: stop it first", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// `process 123`, or that it is not known which.
        holder: String,
    },
    /// The file could not be made, locked or written.
    #[error("cannot {operation} {}: choose another --run-dir, or mend the directory", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Held as long as the value lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct AgentLock {
    _file: Flock<fs::File>,
}

impl AgentLock {
    /// Takes the lock of the node, or says who has it. Does not wait.
    pub fn acquire(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join(LOCK_FILE);
        let io_error = |operation, source| LockError::Io {
            path: path.clone(),
            operation,
            source,
        };
        fs::create_dir_all(run_dir).map_err(|e| io_error("create the directory of", e))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io_error("open", e))?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
            |(file, errno)| match errno {
                Errno::EWOULDBLOCK => LockError::Held {
                    path: path.clone(),
                    holder: holder(file),
                },
                other => io_error("lock", other.into()),
            },
        )?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|e| io_error("write", e))?;
        Ok(Self { _file: file })
    }
}

fn holder(mut file: fs::File) -> String {
    let mut text = String::new();
    match file
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok())
    {
        Some(pid) => format!("process {pid}"),
        None => "a process that did not leave its id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_who_holds_the_lock_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = AgentLock::acquire(dir.path()).unwrap();
        let refused = AgentLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        AgentLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_run_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = AgentLock::acquire(&file.join("run"))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("file/run/agent.lock"), "{refused}");
    }
}
