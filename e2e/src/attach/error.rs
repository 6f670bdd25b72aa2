//! Why a chain could not be run.

use sluice_attachment::store::StoreError;

use crate::lab::LabError;

/// Errors of this module; a plugin that refuses is none of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The node's files.
    #[error("the node's directory")]
    Directory(#[source] std::io::Error),
    /// What is remembered of attachments.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugin did not start, or could not be talked to.
    #[error("plugin {plugin}")]
    Plugin {
        /// Its type.
        plugin: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// What a plugin printed is not JSON.
    #[error("plugin {plugin} printed {printed:?}")]
    Output {
        /// Its type.
        plugin: String,
        /// What it printed.
        printed: String,
    },
    /// A datapath of Open vSwitch.
    #[error("a datapath of Open vSwitch")]
    Switch(#[source] std::io::Error),
    /// The agent's socket.
    #[error("the agent's socket")]
    Agent(#[source] std::io::Error),
}
