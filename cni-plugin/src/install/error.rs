//! Why the plugin is not installed.

use std::io;
use std::path::{Path, PathBuf};

use sluice_attachment::store::StoreError;

/// Errors of the installer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A file or directory.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A configuration that was one when it was looked at has something unexpected in it.
    #[error("a network configuration has no list of plugins")]
    NotAList(#[source] serde_json::Error),
    /// What the plugin remembers.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// It could not be told when to end.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

impl InstallError {
    pub(super) fn signals(errno: nix::errno::Errno) -> Self {
        Self::Signals(errno.into())
    }

    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io {
            operation,
            path,
            source,
        }
    }
}
