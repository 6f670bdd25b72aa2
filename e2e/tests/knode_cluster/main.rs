//! Sluice in a cluster: a real API server, the operator, and agents that each serve a node of their own, with the rights of the chart's
//! roles. On a kernel with IPVS pools differ by mode; elsewhere by the variant of iptables.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod attachments;
mod cluster;
mod nodes;
mod outages;
mod pools;
mod refusals;
mod rollouts;
