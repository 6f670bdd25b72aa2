//! The real agent changes its mode, back and forth, under traffic of every kind: nothing fails and nothing breaks. Needs IPVS.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kills;
mod node;
mod round_trips;
mod traffic;
mod variants;
