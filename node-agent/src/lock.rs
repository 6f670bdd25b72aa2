//! One agent a node: a locked file says so.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Name of the lock file in the run directory.
pub const LOCK_FILE: &str = "agent.lock";
const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// `PROC_PID_INIT_INO` of `proc_ns.h`: the node's own, whose ids people see.
const HOST_NAMESPACE: u64 = 0xEFFF_FFFC;

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
    /// A process has it whose id says nothing here.
    #[error(
        "an agent in a container (process {process} there) holds {}: delete its pod, or uninstall with cleanup", path.display()
    )]
    HeldInContainer {
        /// The lock file.
        path: PathBuf,
        /// Its id in its own container.
        process: u32,
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
                Errno::EWOULDBLOCK => held(path.clone(), file),
                other => io_error("lock", other.into()),
            },
        )?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", Holder::myself()))
            .map_err(|e| io_error("write", e))?;
        Ok(Self { _file: file })
    }
}

/// Who has the lock, as the file says.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    process: u32,
    /// The namespace in which the process has this id; a file of an earlier release does not tell it.
    namespace: Option<u64>,
}

impl Holder {
    fn myself() -> Self {
        Self {
            process: std::process::id(),
            namespace: fs::metadata(PID_NAMESPACE).ok().map(|file| file.ino()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self {
            process: words.next()?.parse().ok()?,
            namespace: words.next().and_then(|word| word.parse().ok()),
        })
    }

    /// Its id means the same to who reads it.
    fn is_near(&self, reader: &Self) -> bool {
        match (self.namespace, reader.namespace) {
            (None | Some(HOST_NAMESPACE), _) | (_, None) => true,
            (own, of_reader) => own == of_reader,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.process)?;
        if let Some(namespace) = self.namespace {
            write!(f, " {namespace}")?;
        }
        writeln!(f)
    }
}

fn held(path: PathBuf, mut file: fs::File) -> LockError {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    match read.ok().and_then(|_| Holder::read(&text)) {
        Some(holder) if !holder.is_near(&Holder::myself()) => LockError::HeldInContainer {
            path,
            process: holder.process,
        },
        Some(holder) => LockError::Held {
            path,
            holder: format!("process {}", holder.process),
        },
        None => LockError::Held {
            path,
            holder: "a process that did not leave its id".to_owned(),
        },
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
    fn a_holder_in_a_container_is_not_told_by_an_id_that_is_another_process_here() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(LOCK_FILE);
        let _held = AgentLock::acquire(dir.path()).unwrap();
        let refused = |text: &str| {
            std::fs::write(&file, text).unwrap();
            AgentLock::acquire(dir.path()).unwrap_err().to_string()
        };
        let in_container = refused("1 4026599999\n");
        assert!(
            in_container.contains("in a container (process 1 there)"),
            "{in_container}"
        );
        let namespace = Holder::myself().namespace.unwrap();
        for (text, told) in [
            (format!("12 {namespace}\n"), "process 12 holds"),
            (format!("12 {HOST_NAMESPACE}\n"), "process 12 holds"),
            // Of an earlier release.
            ("12\n".to_owned(), "process 12 holds"),
            ("x\n".to_owned(), "did not leave its id"),
        ] {
            let refused = refused(&text);
            assert!(refused.contains(told), "{refused}");
        }
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
