//! Rollouts over a virtual clock: what the operator plans is applied to a cluster in memory, whose agents answer as the contract says.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;
mod properties;
mod world;
