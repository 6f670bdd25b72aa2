//! The Sluice operator: from policies and nodes to what each node shall run.
//!
//! ```text
//! watches -> snapshot -> plan (pure): resolve, rollout, status, events -> writes
//! ```

pub mod cli;
mod cluster;
mod election;
mod http;
mod metrics;
pub mod objects;
pub mod plan;
pub mod resolve;
mod rest;
pub mod revision;
pub mod rollout;
pub mod run;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod test_server;
mod verify;
