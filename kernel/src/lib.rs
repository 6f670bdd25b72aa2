//! Typed doors to the kernel. Each is a trait with two implementations: the kernel itself, and a twin in memory that
//! behaves as the kernel does and can be told to fail.
//!
//! All doors block, and act on the network namespace of the thread that opened them.

pub mod address_set;
pub mod base_chains;
pub mod conntrack;
mod fault;
pub mod iptables;
pub mod ipvs;
pub mod links;
pub mod modules;
mod multicast;
mod netlink;
pub mod ports;
mod process;
pub mod ruleset_events;
pub mod sysctl;
