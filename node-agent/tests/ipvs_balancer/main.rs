//! The IPVS balancer on kernels in memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

mod binding;
mod graceful;
mod inside;
mod listing;
mod ownership;
mod paths;
mod retiring;
mod schedulers;
mod taking_over;
mod world;
