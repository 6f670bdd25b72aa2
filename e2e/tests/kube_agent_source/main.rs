//! The agent's source on a real API server: what it tells, and what it does not, whatever happens to the server.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod distrust;
mod gate;
mod lost;
mod outages;
mod settings;
mod told;
