//! Why the store cannot be used.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Errors of a [`Store`](super::Store).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or the directory.
    #[error("attachments on disk: cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("attachments on disk: another process has held {} for {patience:?}", path.display())]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// A record cannot be written as JSON.
    #[error("attachments on disk: a record that cannot be written")]
    Unwritable(#[source] serde_json::Error),
}

impl StoreError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io {
            operation,
            path,
            source,
        }
    }
}
