//! Why a tunable could not be read or set.

use std::io;
use std::path::PathBuf;

/// Errors of [`Sysctls`](super::Sysctls).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// This kernel (or network namespace) has no such tunable.
    #[error("this kernel has no sysctl {name}")]
    NotFound {
        /// Dotted name.
        name: String,
    },
    /// It may not be written here: read-only `/proc/sys`, or not this namespace's.
    #[error("sysctl {name} cannot be written here")]
    ReadOnly {
        /// Dotted name.
        name: String,
    },
    /// The kernel does not take the value.
    #[error("the kernel refuses {value:?} for sysctl {name}")]
    InvalidValue {
        /// Dotted name.
        name: String,
        /// The value.
        value: String,
    },
    /// Anything else.
    #[error("sysctl {name}: {operation}")]
    Io {
        /// Dotted name.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Errors of [`SysctlLedger`](super::SysctlLedger).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The tunable itself.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The file could not be read or written. Nothing was set in the kernel; what was to be brought back is back.
    #[error("cannot {operation} the record of old sysctl values, {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file is not what we write. It was moved aside, and the next start begins a new one.
    #[error("the record of old sysctl values was unreadable and is now {}: restore the values in it by hand, then start again", moved_to.display())]
    Corrupt {
        /// Where it is now.
        moved_to: PathBuf,
        /// What was wrong.
        #[source]
        source: serde_json::Error,
    },
}
