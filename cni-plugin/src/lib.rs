//! A chained CNI plugin: hairpin, source-NAT class and sysctls of a pod at its attachment.
//!
//! A runtime starts it once per verb (CNI specification 1.1.0, section 2). It asks the agent how a pod shall be treated, remembers the
//! attachment on disk, and changes the kernel by netlink; it starts no program and takes no lock of the packet filter.

mod call;
mod cni;
mod conf;
mod decision;
mod hairpin;
mod host_side;
pub mod install;
mod membership;
mod sandbox;
mod sysctls;
mod verbs;

pub use call::run;
