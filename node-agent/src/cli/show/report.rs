//! What the kernel holds of ours, for programs. For people: [`words`](super::words).

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::chains::Clients;
use super::frontend::Frontend;

/// The report of `show`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The mode that new connections are served in; absent when nothing of ours is programmed.
    pub(super) mode: Option<String>,
    /// IPVS keeps old connections, though it gets no new ones.
    pub(super) ipvs_drains: bool,
    /// Where our rules are: one for each iptables variant that has some.
    pub(super) rules: Vec<RulesReport>,
    /// What IPVS balances.
    pub(super) virtual_servers: Vec<VirtualServerReport>,
    /// What rules balance.
    pub(super) frontends: Vec<FrontendReport>,
    /// Frontends without a usable endpoint.
    pub(super) refused: Vec<RefusedReport>,
    /// Addresses that IPVS has taken as the node's.
    pub(super) bindings: Vec<BindingReport>,
    pub(super) address_sets: Vec<SetReport>,
    /// What is not as it should be, in sentences.
    pub(super) notes: Vec<String>,
}

/// Our rules of one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RulesReport {
    pub(super) variant: String,
    pub(super) family: &'static str,
    pub(super) chains: usize,
    pub(super) rules: usize,
}

/// A virtual server of IPVS.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VirtualServerReport {
    /// As ipvsadm(8) writes it: `TCP 10.96.0.1:443`, `FWM 7`.
    pub(super) server: String,
    /// What clients address. Of one by mark: those whose inside clients get the mark.
    pub(super) frontends: Vec<Frontend>,
    pub(super) scheduler: String,
    /// How long a client stays with its real server after its last connection.
    pub(super) persistence_seconds: Option<u32>,
    /// Connections scheduled since it was made.
    pub(super) connections: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) real_servers: Vec<RealServerReport>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RealServerReport {
    pub(super) address: SocketAddr,
    pub(super) weight: u32,
    /// It gets no new connections, and keeps those that it has.
    pub(super) draining: bool,
    pub(super) active_connections: u32,
    pub(super) inactive_connections: u32,
}

/// A frontend that rules balance.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrontendReport {
    pub(super) frontend: Frontend,
    /// A client stays with its endpoint.
    pub(super) affinity: bool,
    pub(super) endpoints: Vec<EndpointReport>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointReport {
    pub(super) address: SocketAddr,
    pub(super) clients: Clients,
    /// Of the new connections of these clients, 0 to 1.
    pub(super) share: f64,
}

/// A frontend that is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedReport {
    pub(super) frontend: Frontend,
    /// `reject` or `drop`.
    pub(super) how: &'static str,
}

/// A service address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BindingReport {
    pub(super) address: IpAddr,
    /// `localRoute` or `address`.
    pub(super) by: &'static str,
    /// Source of the node's own packets to it; absent: the kernel's choice.
    pub(super) source: Option<IpAddr>,
}

/// An address set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetReport {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) entries: u32,
    pub(super) max_entries: u32,
}

impl Report {
    /// Whether anything is told of a frontend.
    pub(super) fn has_frontend(&self) -> bool {
        !(self.virtual_servers.is_empty() && self.frontends.is_empty() && self.refused.is_empty())
    }
}
