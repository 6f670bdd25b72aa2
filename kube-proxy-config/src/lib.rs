//! kube-proxy's configuration, and the policy that says the same. Pure.
//!
//! The fields are those of `KubeProxyConfiguration` v1alpha1 of Kubernetes 1.36, with the words for `nodePortAddresses` of 1.37.

mod config;
mod convert;
mod duration;
mod manifest;
mod node_port_entries;
mod without_equivalent;

pub use config::ConfigError;
pub use convert::{Conversion, ConvertError, convert};
pub use duration::DurationError;
pub use manifest::manifest;
