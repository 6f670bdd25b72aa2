//! Manifest files of one directory: YAML or JSON, any number of documents a file.
//!
//! Only files that changed are read again, and only documents whose text changed are parsed again. Of an object
//! nothing is kept but its name and a hash of its text; its fields go out with the [`Update`](super::Update).
//!
//! The last good state stays: an object that became invalid keeps its last good version, a file that cannot be parsed
//! keeps all its objects; copies of the files carry that over a restart. An object in two files is taken from the first by file name. A deleted file takes its objects along.

mod claims;
mod decode;
mod directory;
mod document;
mod file;
mod last_good;
mod locate;
mod object;
mod policies;
mod source;
mod watch;

use std::path::PathBuf;

pub use source::ManifestSource;
pub use watch::ManifestWatch;

/// Errors of the manifest directory as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It does not exist.
    #[error("manifest directory {directory} does not exist: create it, or name another one")]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// It cannot be listed.
    #[error(
        "manifest directory {directory} cannot be listed: check that it is a directory and who may read it"
    )]
    Unreadable {
        /// The directory.
        directory: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}
