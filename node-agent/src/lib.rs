//! The Sluice node agent: from manifests to packets.
//!
//! ```text
//! source -> agent (inbox, catalog) -> data_plane: glue + balancer -> ruleset, address sets, conntrack
//!                                  \-> health, metrics
//! ```

pub mod agent;
pub mod attachments;
pub mod balancer;
mod capabilities;
pub mod cli;
mod cpus;
pub mod data_plane;
mod family;
mod firewalls;
pub mod glue;
pub mod health;
pub mod http;
pub mod kube_proxy;
pub mod lock;
pub mod metrics;
pub mod node_plane;
pub mod ports;
pub mod ruleset;
pub mod settings;
pub mod source;
mod stale_flows;
pub mod tally;
mod trials;
