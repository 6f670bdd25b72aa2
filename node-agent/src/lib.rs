//! The Sluice node agent: from manifests or the API server to packets.

pub mod agent;
pub mod cli;
pub mod data_plane;
pub mod health;
pub mod http;
pub mod lock;
pub mod metrics;
pub mod ports;
pub mod balancer;
pub mod glue;
pub mod iptables_plane;
pub mod ruleset;
mod family;
mod stale_flows;
pub mod settings;
pub mod source;
