//! A pod's network namespace.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};

use crate::cni::{Code, Coded};

/// Errors of a [`Sandbox`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("CNI_NETNS: cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("CNI_NETNS: {} is not a network namespace", path.display())]
    NotANamespace {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("CNI_NETNS: {} is the node's own network namespace", path.display())]
    TheNodes { path: PathBuf },
    #[error("cannot work inside the network namespace {}", path.display())]
    Thread {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Coded for SandboxError {
    fn code(&self) -> Code {
        match self {
            Self::Thread { .. } => Code::Sandbox,
            _ => Code::InvalidEnvironment,
        }
    }
}

/// An open network namespace that is not the node's.
#[derive(Debug)]
pub(crate) struct Sandbox {
    path: PathBuf,
    file: File,
}

impl Sandbox {
    pub(crate) fn open(path: &Path) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Open {
            path: path.to_path_buf(),
            source,
        };
        // A pipe in its place must not make this wait.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .map_err(failed)?;
        let (theirs, own) = (
            file.metadata().map_err(failed)?,
            std::fs::metadata("/proc/thread-self/ns/net").map_err(failed)?,
        );
        if (theirs.dev(), theirs.ino()) == (own.dev(), own.ino()) {
            return Err(SandboxError::TheNodes {
                path: path.to_path_buf(),
            });
        }
        let sandbox = Self {
            path: path.to_path_buf(),
            file,
        };
        // So a path that leads elsewhere is found before anything is changed.
        sandbox.run(|| ())?;
        Ok(sandbox)
    }

    /// Does `work` inside the namespace, on a thread of its own: this thread stays on the node.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, SandboxError> {
        let thread_failed = |source| SandboxError::Thread {
            path: self.path.clone(),
            source,
        };
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| {
                        SandboxError::NotANamespace {
                            path: self.path.clone(),
                            source: errno.into(),
                        }
                    })?;
                    Ok(work())
                })
                .map_err(thread_failed)?
                .join()
                .map_err(|_| thread_failed(io::Error::other("the thread ended early")))?
        })
    }
}
