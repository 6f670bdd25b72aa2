//! What a policy says to each of its nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conntrack::Conntrack;
use super::endpoint_weights::EndpointWeight;
use super::hairpin::Hairpin;
use super::iptables::Iptables;
use super::ipvs::Ipvs;
use super::label_selector::LabelSelector;
use super::mode::{AutoMode, Mode, ModeSwitch};
use super::node_ports::NodePorts;
use super::policy::ServiceProxyPolicySpec;
use super::rollout::Rollout;
use super::schema::MAX_ROWS;
use super::service_overrides::ServiceOverride;
use super::source_nat::SourceNat;
use super::sync::SyncIntervals;
use super::sysctls::Sysctl;

/// Everything of a policy that a node is told, but for its mode. The fields are those of `ServiceProxyPolicy.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResolvedSettings {
    /// Settings of iptables rules.
    pub iptables: Iptables,
    /// Settings of IPVS.
    pub ipvs: Ipvs,
    /// Source NAT of service traffic.
    #[serde(rename = "sourceNAT")]
    pub source_nat: SourceNat,
    /// How a pod reaches itself through a service.
    pub hairpin: Hairpin,
    /// Connection tracking tunables.
    pub conntrack: Conntrack,
    /// How a node goes from one data plane to another.
    pub mode_switch: ModeSwitch,
    /// Where node ports are served.
    pub node_ports: NodePorts,
    /// How often the kernel is written and compared.
    pub sync: SyncIntervals,
    /// Further node tunables, at most one a name. What the kernel refuses is told in the node's status. Default: none.
    #[schemars(length(max = MAX_ROWS), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
    ))]
    pub sysctls: Vec<Sysctl>,
    /// Shares of endpoints; the first row that matches counts. Default: all alike.
    #[schemars(length(max = MAX_ROWS), extend("x-kubernetes-validations" = EndpointWeight::list_rules()))]
    pub endpoint_weights: Vec<EndpointWeight>,
    /// What some services want else; the first row that matches counts. Default: none.
    #[schemars(length(max = MAX_ROWS), extend("x-kubernetes-validations" = ServiceOverride::list_rules()))]
    pub service_overrides: Vec<ServiceOverride>,
}

impl From<&ServiceProxyPolicySpec> for ResolvedSettings {
    fn from(policy: &ServiceProxyPolicySpec) -> Self {
        // By name, so that a new field of the policy is decided on here.
        let ServiceProxyPolicySpec {
            node_selector: _,
            priority: _,
            mode: _,
            auto: _,
            iptables,
            ipvs,
            source_nat,
            hairpin,
            conntrack,
            mode_switch,
            node_ports,
            sync,
            sysctls,
            endpoint_weights,
            service_overrides,
            rollout: _,
        } = policy.clone();
        Self {
            iptables,
            ipvs,
            source_nat,
            hairpin,
            conntrack,
            mode_switch,
            node_ports,
            sync,
            sysctls,
            endpoint_weights,
            service_overrides,
        }
    }
}

impl ResolvedSettings {
    /// A policy that says this, and which mode.
    pub(super) fn to_policy(&self, mode: Mode) -> ServiceProxyPolicySpec {
        let Self {
            iptables,
            ipvs,
            source_nat,
            hairpin,
            conntrack,
            mode_switch,
            node_ports,
            sync,
            sysctls,
            endpoint_weights,
            service_overrides,
        } = self.clone();
        ServiceProxyPolicySpec {
            node_selector: LabelSelector::default(),
            priority: 0,
            mode,
            auto: AutoMode::default(),
            iptables,
            ipvs,
            source_nat,
            hairpin,
            conntrack,
            mode_switch,
            node_ports,
            sync,
            sysctls,
            endpoint_weights,
            service_overrides,
            rollout: Rollout::default(),
        }
    }
}
