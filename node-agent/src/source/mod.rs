//! Where Services come from: manifest files, or an API server.
//!
//! ```text
//! file -> documents -> Kubernetes objects -> sluice-plan-input (pure) -> the fields that matter -> Update
//! API server -> watches ---^
//! ```
//!
//! What cannot be used is a [`Refusal`]: it says where, what is wrong and what to do, once per change, and the last good state of everything stays in force.

pub mod cluster;
mod kind;
pub mod manifests;
mod refusal;
mod update;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use tokio::sync::watch;

use crate::agent::Report;
use crate::attachments::Pods;
use crate::health::Health;
use crate::metrics::Metrics;

pub use cluster::ClusterSource;
pub use kind::Kind;
pub use manifests::{ManifestError, ManifestSource, ManifestWatch};
pub use refusal::Refusal;
pub use update::{Revision, Update};

/// Errors of [`Source`]. The source can be asked again after each of them; what it told before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The manifest directory.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// How to reach an API server.
    #[error(transparent)]
    Access(#[from] sluice_api_access::AccessError),
    /// The thread that asks an API server.
    #[error("a thread cannot be started ({0})")]
    Thread(#[source] io::Error),
    /// What asks an API server has ended, which it never should. Nothing more will come.
    #[error("nobody asks the API server any more: see the lines above")]
    Ended,
}

/// How the agent is doing, for a source that passes it on.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// Its health.
    pub health: Arc<Health>,
    /// What became of the settings.
    pub report: watch::Receiver<Report>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Where it is told what is known of pods.
    pub pods: watch::Sender<Pods>,
}

/// Tells what services, slices, node and policy are, and what of them changes.
pub trait Source: Send {
    /// Waits at most so long for a change. The first update comes at once and is complete: it has everything there is, node and policy included.
    fn next_update(&mut self, wait: Duration) -> Result<Option<Update>, SourceError>;
    /// The policy that counted when the agent last ran, as far as it is known before the first update.
    fn last_policy(&self) -> Option<ServiceProxyPolicySpec> {
        None
    }
    /// Tells where to see how the agent is doing, before the first update.
    fn listen(&mut self, _state: AgentState) {}
}
