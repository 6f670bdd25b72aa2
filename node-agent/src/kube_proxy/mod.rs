//! kube-proxy as a neighbour: whether it runs on this node, what it left in the kernel, and how that goes.
//!
//! The names are facts of Kubernetes 1.36 (`pkg/proxy/{iptables,ipvs,nftables}`).

mod claims;
mod leftovers;
mod names;
mod rules;
mod running;

pub use claims::{Claims, could_have_made};
pub use leftovers::{Leftovers, LeftoversError};
pub use names::SYSCTLS_OF_IPVS_MODE;
pub use running::{Running, find_running};
