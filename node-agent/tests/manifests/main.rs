//! Manifest files: what is read of them, what is refused in which words, and what a change of a file changes.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod convert;
mod files;
mod lab;
mod last_good;
mod links;
mod planned;
mod refusals;
mod watch;
