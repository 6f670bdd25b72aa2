//! The policy itself.

use serde::{Deserialize, Serialize};

use super::conntrack::Conntrack;
use super::endpoint_weights::EndpointWeight;
use super::invalid::{Checker, Invalid};
use super::iptables::Iptables;
use super::ipvs::Ipvs;
use super::label_selector::LabelSelector;
use super::mode::{AutoMode, Mode, ModeRule, ModeSwitch};
use super::node_ports::NodePorts;
use super::service_overrides::ServiceOverride;
use super::source_nat::SourceNat;
use super::sync::SyncIntervals;
use super::sysctls::Sysctl;

/// `spec` of a `ServiceProxyPolicy`: what the owner of some nodes chose for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceProxyPolicySpec {
    /// The nodes it is for. Default: `{}`, every node.
    pub node_selector: LabelSelector,
    /// Of several policies that select a node the one with the highest priority counts; of equals the older one, then by name. Default: 0.
    pub priority: i32,
    /// The data plane. Default: `Auto`.
    pub mode: Mode,
    /// What `mode: Auto` goes by. It never picks IPVS where `nodePorts.localhost` is true.
    pub auto: AutoMode,
    /// Settings of iptables rules.
    pub iptables: Iptables,
    /// Settings of IPVS.
    pub ipvs: Ipvs,
    /// Source NAT of service traffic.
    #[serde(rename = "sourceNAT")]
    pub source_nat: SourceNat,
    /// Connection tracking tunables.
    pub conntrack: Conntrack,
    /// How the nodes go from one data plane to another.
    pub mode_switch: ModeSwitch,
    /// Where node ports are served.
    pub node_ports: NodePorts,
    /// How often the kernel is written and compared.
    pub sync: SyncIntervals,
    /// Further node tunables. Default: none.
    pub sysctls: Vec<Sysctl>,
    /// Shares of endpoints; the first row that matches counts. Default: all alike.
    pub endpoint_weights: Vec<EndpointWeight>,
    /// What some services want else; the first row that matches counts. Default: none.
    pub service_overrides: Vec<ServiceOverride>,
}

impl ServiceProxyPolicySpec {
    /// Everything that is wrong with it, in the order of its fields; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut c = Checker::new("spec");
        c.field("nodeSelector", |c| self.node_selector.check(c));
        c.field("mode", |c| self.check_mode(c));
        c.field("auto", |c| self.auto.check(c));
        c.field("ipvs", |c| self.ipvs.check(c));
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
        c.items("serviceOverrides", &self.service_overrides, |c, row| {
            row.check(c);
        });
        ServiceOverride::check_order(&self.service_overrides, &mut c);
        c.into_found()
    }

    /// Everything that decides which data plane a node runs.
    pub fn mode_rule(&self) -> ModeRule {
        ModeRule {
            mode: self.mode,
            auto: self.auto,
            rules_out_ipvs: self.node_ports.localhost,
        }
    }

    fn check_mode(&self, c: &mut Checker) {
        if self.mode == Mode::IPVS && self.mode_rule().rules_out_ipvs {
            c.wrong("IPVS cannot serve node ports on 127.0.0.1: set nodePorts.localhost to false, or mode to IPTables");
        }
    }
}
