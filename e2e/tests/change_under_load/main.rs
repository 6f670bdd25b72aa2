//! Changes while traffic flows: nothing that has a live endpoint fails, at any step.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod addresses;
mod affinity;
mod endpoints;
mod frontends;
mod traffic;
