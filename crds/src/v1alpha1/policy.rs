//! The policy itself.

use serde::{Deserialize, Serialize};

use super::conntrack::Conntrack;
use super::endpoint_weights::EndpointWeight;
use super::invalid::{Checker, Invalid};
use super::mode::{Iptables, Mode};
use super::node_ports::NodePorts;
use super::node_selector::NodeSelector;
use super::source_nat::SourceNat;
use super::sync::SyncIntervals;
use super::sysctls::Sysctl;

/// `spec` of a `ServiceProxyPolicy`: what the owner of some nodes chose for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceProxyPolicySpec {
    /// The nodes it is for. Default: `{}`, every node.
    pub node_selector: NodeSelector,
    /// Of several policies that select a node the one with the highest priority counts; of equals the older one, then by name. Default: 0.
    pub priority: i32,
    /// The data plane. Default: `Auto`.
    pub mode: Mode,
    /// Settings of iptables rules.
    pub iptables: Iptables,
    /// Source NAT of service traffic.
    #[serde(rename = "sourceNAT")]
    pub source_nat: SourceNat,
    /// Connection tracking tunables.
    pub conntrack: Conntrack,
    /// Where node ports are served.
    pub node_ports: NodePorts,
    /// How often the kernel is written and compared.
    pub sync: SyncIntervals,
    /// Further node tunables. Default: none.
    pub sysctls: Vec<Sysctl>,
    /// Shares of endpoints; the first row that matches counts. Default: all alike.
    pub endpoint_weights: Vec<EndpointWeight>,
}

impl ServiceProxyPolicySpec {
    /// Everything that is wrong with it, in the order of its fields; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut c = Checker::new("spec");
        c.field("nodeSelector", |c| self.node_selector.check(c));
        c.field("sourceNAT", |c| self.source_nat.check(c));
        c.field("conntrack", |c| self.conntrack.check(c));
        c.field("nodePorts", |c| self.node_ports.check(c));
        c.field("sync", |c| self.sync.check(c));
        c.items("sysctls", &self.sysctls, |c, sysctl| sysctl.check(c));
        Sysctl::check_names(&self.sysctls, &mut c);
        c.items("endpointWeights", &self.endpoint_weights, |c, row| {
            row.check(c);
        });
        EndpointWeight::check_order(&self.endpoint_weights, &mut c);
        c.into_found()
    }
}
