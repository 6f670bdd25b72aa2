//! The plugin as a runtime calls it: environment and standard input in; exit code, standard output and the specification's error codes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests fail as tests do.

mod answers;
mod call;
mod configurations;
mod environments;
mod limits;
mod noise;
mod results;
mod state;
mod verbs;
mod watching;
