//! The installer as a process, beside a main plugin's owner that rewrites its configuration and a runtime that reads it.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ended;
mod node;
mod owners;
mod runtime;
