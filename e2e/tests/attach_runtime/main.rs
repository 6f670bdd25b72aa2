//! `sluice-cni` and the agent on a node whose pods a real containerd runs: the distribution's, and version 2.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod collection;
mod comings_and_goings;
mod machine;
mod readiness;
mod reboot;
mod service;

use sluice_e2e::container_runtime::Release;

const RELEASES: [Release; 2] = [Release::Distribution, Release::Built];
