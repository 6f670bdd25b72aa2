//! The live change of the mode on kernels in memory: at every moment somebody serves, whatever fails and whenever the agent dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a step that fails is a test that fails

mod cluster;
mod cold_start;
mod connections;
mod kernel;
mod switches;
mod watch;
