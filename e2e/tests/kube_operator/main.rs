//! The real operator on a real API server, with the rights that its chart gives it. Agents are those of the test: they say what
//! the contract between both wants them to.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod access;
mod agents;
mod clocks;
mod cluster;
mod contests;
mod nodes;
mod plugin;
mod replicas;
mod rollouts;
mod scale;
mod services;
mod start;
mod unreadable;
mod verify;
