//! `sluice-cni` and the real agent: what one says the other does, and what one misses the other mends.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod away;
mod classes;
mod crowd;
mod pods;
mod repairs;
