//! Why there is no runtime, or what it refused.

use std::io;

use crate::debian_package::DebianPackageError;
use crate::go_module::GoError;
use crate::lab::LabError;

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Programs of `e2e/container-runtime`.
    #[error("the programs of e2e/container-runtime: install Go as new as its go.mod says")]
    Go(#[from] GoError),
    /// The distribution's packages.
    #[error("the distribution's packages containerd and runc cannot be had")]
    Package(#[from] DebianPackageError),
    /// Another package of that name.
    #[error(
        "apt's package containerd has no containerd in it: add a Debian or Ubuntu archive to apt's sources"
    )]
    NoContainerd,
    /// No place to keep programs.
    #[error("no home directory to keep programs in: say where with XDG_CACHE_HOME")]
    NoCache,
    /// The CRI, or its client, refused.
    #[error("`{command}` failed: {message}")]
    Refused {
        /// Program and arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// An answer that is not understood.
    #[error("{method} answered {answer}")]
    Answer {
        /// What was asked.
        method: String,
        /// The answer.
        answer: String,
    },
    /// It did not start.
    #[error("containerd does not answer; its log ends:\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
}

/// Makes a [`RuntimeError::Io`] of an I/O error.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::Io {
        what: what.into(),
        source,
    }
}
