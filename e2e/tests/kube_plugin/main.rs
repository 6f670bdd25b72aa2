//! `kubectl sluice` on a real API server, with objects as operators, agents and people write them. There is no kubelet in this lab, so no
//! command runs in an agent's pod: `diff` is followed to the API server's refusal, and what comes after is a test of its crate.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod diff;
mod explain;
mod guides;
mod migrate;
mod refusals;
mod status;
mod world;
