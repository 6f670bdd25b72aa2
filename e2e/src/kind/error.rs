//! Why there is no cluster.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::control_plane::ControlPlaneError;
use crate::go_module::GoError;
use crate::lab::LabError;

/// Errors of the kind lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A program of Kubernetes could not be had.
    #[error(transparent)]
    Kubernetes(#[from] ControlPlaneError),
    /// Another program could not be had.
    #[error(transparent)]
    Go(#[from] GoError),
    /// The lab's network namespace, or a program in it.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// No home to keep images in.
    #[error("no home directory to keep programs and images in: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// The Docker daemon did not come up.
    #[error("dockerd does not answer after {} s; its log ends:\n{log}", .patience.as_secs())]
    NoDaemon {
        /// How long we waited.
        patience: Duration,
        /// The end of its log.
        log: String,
    },
    /// A program outside the lab failed.
    #[error("`{command}` failed: {message}")]
    Program {
        /// Program and arguments.
        command: String,
        /// The end of what it said.
        message: String,
    },
    /// A program for a pod is not there.
    #[error("{} is not there: {advice}", .path.display())]
    Missing {
        /// What is not there.
        path: PathBuf,
        /// How to make it.
        advice: &'static str,
    },
    /// The image of nodes that was asked for cannot be had.
    #[error("{message} ({advice})")]
    NoRegistry {
        /// Which image, and what its registry said.
        message: String,
        /// What to ask for instead.
        advice: String,
    },
    /// Something in the cluster is not what it should be.
    #[error("{what} (waited {} s); last seen: {seen}", .patience.as_secs())]
    Never {
        /// What did not happen.
        what: String,
        /// How long we waited.
        patience: Duration,
        /// What was seen last.
        seen: String,
    },
    /// An answer nobody can read.
    #[error("cannot understand {what}: {message}")]
    Unintelligible {
        /// Whose answer.
        what: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Makes a [`KindError::Io`] of an I/O error.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> KindError {
    move |source| KindError::Io {
        what: what.into(),
        source,
    }
}
