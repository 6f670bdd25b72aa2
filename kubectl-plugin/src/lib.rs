//! `kubectl sluice`: what people ask of Sluice in a cluster, answered by what its API server holds.
//!
//! ```text
//! API server -> observed objects -> report (pure) -> text or JSON
//! ```

mod age;
pub mod cli;
mod cluster;
mod diff;
mod error;
mod explain;
mod migrate;
mod output;
mod status;
mod style;

pub use error::PluginError;
