//! Why a guest could not be had: never the command's own failure.

use std::io;
use std::path::PathBuf;

use crate::debian_package::DebianPackageError;

/// Errors of the VM lab itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A package, of a kernel.
    #[error(transparent)]
    Package(#[from] DebianPackageError),
    /// A package does not hold what a kernel package holds.
    #[error("the kernel {name} has no {lacks}: choose another kernel package")]
    NotAKernel {
        /// The kernel asked for.
        name: String,
        /// What is not there.
        lacks: String,
    },
    /// A share that cannot be given to the guest.
    #[error("cannot share {share}: {reason}")]
    Share {
        /// As it was asked for.
        share: String,
        /// Why not.
        reason: &'static str,
    },
    /// A disk that cannot be given to the guest.
    #[error("cannot have the disk {disk}: {reason}")]
    Disk {
        /// As it was asked for.
        disk: String,
        /// Why not.
        reason: &'static str,
    },
    /// The guest did not come so far as to start the command.
    #[error("the guest did not get ready: {reason}; console log: {}", .console.display())]
    NotReady {
        /// The most telling line of the console or of QEMU.
        reason: String,
        /// The guest's console.
        console: PathBuf,
    },
    /// QEMU ended although the guest did not.
    #[error("qemu ended with {status}: {message}; console log: {}", .console.display())]
    Qemu {
        /// Its status.
        status: std::process::ExitStatus,
        /// What it said.
        message: String,
        /// The guest's console.
        console: PathBuf,
    },
}

/// Makes a [`VmError::Io`] of an I/O error.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> VmError {
    move |source| VmError::Io {
        what: what.into(),
        source,
    }
}
