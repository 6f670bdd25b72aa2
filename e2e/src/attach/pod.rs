//! A sandbox.

use std::net::IpAddr;

use serde_json::Value;

use super::AttachError;
use crate::lab::Namespace;

/// A network namespace that a runtime made for a pod.
#[derive(Debug)]
pub struct Pod {
    /// The namespace.
    pub namespace: Namespace,
    /// `CNI_CONTAINERID`
    pub container: String,
}

impl Pod {
    /// An empty sandbox.
    pub fn new(container: &str) -> Result<Self, AttachError> {
        Ok(Self {
            namespace: Namespace::new(container)?,
            container: container.to_owned(),
        })
    }

    /// `CNI_NETNS`
    pub fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.namespace.id())
    }

    /// Addresses of a result, IPv4 first.
    pub fn addresses(result: &Value) -> Vec<IpAddr> {
        let ips = result["ips"].as_array().cloned().unwrap_or_default();
        let mut addresses: Vec<IpAddr> = ips
            .iter()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok())
            .collect();
        addresses.sort_unstable();
        addresses
    }
}
