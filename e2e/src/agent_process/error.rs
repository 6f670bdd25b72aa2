//! Why an agent could not be run or asked.

use std::io;
use std::time::Duration;

use crate::lab::LabError;

/// Errors of [`AgentProcess`](super::AgentProcess).
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

impl AgentProcessError {
    /// An error of files or processes.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
