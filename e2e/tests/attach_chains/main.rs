//! `sluice-cni` behind the reference plugins, in namespaces: what a pod can do before it, after it, and what is left of it in the end.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bridged;
mod classes;
mod detection;
mod drift;
mod routed;
mod service;
mod switches;

use sluice_e2e::attach::Node;

fn node() -> Node {
    let plugin = std::env::var_os("SLUICE_CNI")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_cni-under-test").into());
    Node::new(plugin).unwrap()
}
