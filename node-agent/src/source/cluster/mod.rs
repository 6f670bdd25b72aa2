//! A real API server: Services and slices of the cluster, and what it says of this node.
//!
//! ```text
//! watches (one thread, tasks) -> convert (pure) -> view: what changed -> Update
//! what became of it -> status (pure) -> status of the NodeServiceProxy
//! ```
//!
//! Of an object nothing is kept but its name and a hash of the fields that matter, so a list that is read again changes nothing where
//! nothing changed. An API server that is away, slow or wrong changes nothing either: what was told stays in force.

mod follow;
mod guarded;
mod known;
#[cfg(test)]
mod nobody;
mod pod_view;
mod rest;
mod settings;
mod source;
mod status;
mod store;
mod trouble;
mod view;

pub use settings::{SettingsFile, SettingsFileError};
pub use source::{ClusterSource, OpenError};
