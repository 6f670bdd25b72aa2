//! The planner and the trace, seen from outside.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "builders of test objects are tests too"
)]

mod claims;
mod cluster_dns;
mod endpoints;
mod frontends;
mod health;
mod incremental;
mod naive;
mod objects;
mod overrides;
mod pod_classes;
mod random;
mod trace;
mod verdicts;
