//! Why there is no control plane.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::Part;
use crate::go_module::GoError;

/// Errors of the control plane lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlPlaneError {
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Programs have to be built, and there is no Go that can.
    #[error(
        "no Go that builds e2e/control-plane ({message}): install Go as new as its go.mod says, or set KUBEBUILDER_ASSETS to a \
         directory with etcd, kube-apiserver and kubectl"
    )]
    NoGo {
        /// What was found instead.
        message: String,
    },
    /// The build failed.
    #[error("`{command}` failed in e2e/control-plane: {message}")]
    Build {
        /// Program and arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// `KUBEBUILDER_ASSETS` does not have it.
    #[error(
        "KUBEBUILDER_ASSETS has no {}: put it there, or unset the variable to have it built",
        .program.display()
    )]
    NotAmongAssets {
        /// Where it should be.
        program: PathBuf,
    },
    /// No place to keep built programs.
    #[error("no home directory to keep built programs in: say where with {variable}")]
    NoCache {
        /// The variable that says where.
        variable: &'static str,
    },
    /// A server ended by itself.
    #[error("{part} ended with {status}; its log ends:\n{log}")]
    Ended {
        /// Which.
        part: Part,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A server did not get ready.
    #[error("{part} is not ready after {} s; it says: {answer}; its log ends:\n{log}", .patience.as_secs())]
    NotReady {
        /// Which.
        part: Part,
        /// How long we waited.
        patience: Duration,
        /// Its last answer.
        answer: String,
        /// The end of its log.
        log: String,
    },
    /// No port was free.
    #[error("no free port on 127.0.0.1: end what listens there")]
    NoPort,
    /// A user who is not one of [`Options::users`](super::Options::users).
    #[error("nobody is called {name}: name the user in Options::users before the start")]
    NoSuchUser {
        /// Who was asked for.
        name: String,
    },
    /// `kubectl` said no.
    #[error("`kubectl {arguments}` failed: {message}")]
    Refused {
        /// What was asked.
        arguments: String,
        /// What it said.
        message: String,
    },
}

impl From<GoError> for ControlPlaneError {
    fn from(error: GoError) -> Self {
        match error {
            GoError::Io { what, source } => Self::Io { what, source },
            GoError::NoGo { message } => Self::NoGo { message },
            GoError::Build { command, message } => Self::Build { command, message },
        }
    }
}

/// Makes a [`ControlPlaneError::Io`] of an I/O error.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ControlPlaneError {
    move |source| ControlPlaneError::Io {
        what: what.into(),
        source,
    }
}
