//! Why a module could not be found or loaded.

use std::io;
use std::path::PathBuf;

/// Errors of [`Modules`](super::Modules).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModulesError {
    /// The running release has no such module.
    #[error(
        "there is no kernel module {name} below {}: install it, or load it on the node itself", directory.display()
    )]
    NotFound {
        /// The module.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The program that loads modules is not there.
    #[error(
        "cannot load the kernel module {name}: there is no modprobe: load it on the node itself"
    )]
    NoModprobe {
        /// The module.
        name: String,
    },
    /// The kernel refuses this process (`EPERM`): without `CAP_SYS_MODULE`, or with module loading locked.
    #[error(
        "cannot load the kernel module {name}: it needs CAP_SYS_MODULE: grant it, or load it on the node itself"
    )]
    NotPermitted {
        /// The module.
        name: String,
    },
    /// The program ran longer than it may.
    #[error(
        "cannot load the kernel module {name}: modprobe did not end within {seconds} s and was stopped: see the kernel's log"
    )]
    TimedOut {
        /// The module.
        name: String,
        /// The bound.
        seconds: u64,
    },
    /// Anything else that modprobe tells: a parameter, a dependency, a blacklist.
    #[error("cannot load the kernel module {name}: {reason}")]
    Refused {
        /// The module.
        name: String,
        /// What modprobe wrote.
        reason: String,
    },
    /// A file or program failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or program.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}
