//! Where Services come from: manifest files now; whatever comes later gives the same [`Update`]s.
//!
//! ```text
//! file -> documents -> Kubernetes objects -> convert (pure) -> the fields that matter -> Update
//! ```
//!
//! What cannot be used is a [`Refusal`]: it says where, what is wrong and what to do, once per change, and the last good state of everything stays in force.

pub mod convert;
mod kind;
pub mod manifests;
mod refusal;
mod update;

use std::time::Duration;

pub use kind::Kind;
pub use manifests::{ManifestError, ManifestSource, ManifestWatch};
pub use refusal::Refusal;
pub use update::Update;

/// Errors of [`Source`]. The source can be asked again after each of them; what it told before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The manifest directory.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
}

/// Tells what services, slices, node and policy are, and what of them changes.
pub trait Source: Send {
    /// Waits at most so long for a change. The first update comes at once and is complete: it has everything there is, node and policy included.
    fn next_update(&mut self, wait: Duration) -> Result<Option<Update>, SourceError>;
}
