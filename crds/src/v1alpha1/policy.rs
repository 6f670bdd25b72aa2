//! The policy itself.

use kube::CustomResource;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conntrack::Conntrack;
use super::endpoint_weights::EndpointWeight;
use super::hairpin::Hairpin;
use super::invalid::{Checker, Invalid};
use super::iptables::Iptables;
use super::ipvs::Ipvs;
use super::label_selector::LabelSelector;
use super::mode::{AutoMode, Mode, ModeRule, ModeSwitch};
use super::node_ports::NodePorts;
use super::policy_status::ServiceProxyPolicyStatus;
use super::rollout::Rollout;
use super::schema::{MAX_ROWS, rule, says, structural};
use super::service_overrides::ServiceOverride;
use super::source_nat::SourceNat;
use super::sync::SyncIntervals;
use super::sysctls::Sysctl;

/// What the owner of some nodes chose for them.
#[derive(
    CustomResource, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "ServiceProxyPolicy",
    plural = "serviceproxypolicies",
    shortname = "spp",
    category = "sluice",
    doc = "How the nodes that it selects serve Services: by which data plane, with which source addresses, and how a change of it reaches them.",
    derive = "PartialEq",
    status = "ServiceProxyPolicyStatus",
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "description": "Data plane that it asks for."}"#,
    printcolumn = r#"{"name": "Priority", "type": "integer", "jsonPath": ".spec.priority", "description": "Of several policies for a node the highest counts."}"#,
    printcolumn = r#"{"name": "Matched", "type": "integer", "jsonPath": ".status.matchedNodes", "description": "Nodes that it counts for."}"#,
    printcolumn = r#"{"name": "Updated", "type": "integer", "jsonPath": ".status.updatedNodes", "description": "Of them, those at its newest revision."}"#,
    printcolumn = r#"{"name": "ReadyNodes", "type": "integer", "jsonPath": ".status.readyNodes", "description": "Of them, those that serve and are healthy."}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Every node is at the newest revision and ready."}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1, "description": "Why it is ready or not."}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since it was made."}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = ServiceProxyPolicySpec::rules()), transform = structural)]
pub struct ServiceProxyPolicySpec {
    /// The nodes it is for. Default: `{}`, every node.
    pub node_selector: LabelSelector,
    /// Of several policies that select a node the one with the highest priority counts; of equals the older one, then by name.
    /// From -2147483648 to 2147483647. Default: 0.
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
    /// How a change of the policy reaches its nodes.
    pub rollout: Rollout,
}

/// Of `mode`, in a policy and of a node.
pub(super) const NO_LOCALHOST_IN_IPVS: &str = "IPVS cannot serve node ports on 127.0.0.1";

impl ServiceProxyPolicySpec {
    fn rules() -> [Rule; 1] {
        [rule(
            ".mode",
            "self.mode != 'IPVS' || !self.nodePorts.localhost",
            says(format_args!(
                "{NO_LOCALHOST_IN_IPVS}: set nodePorts.localhost to false, or mode to IPTables"
            )),
        )]
    }

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
        c.field("rollout", |c| self.rollout.check(c));
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
            c.wrong(format!(
                "{NO_LOCALHOST_IN_IPVS}: set nodePorts.localhost to false, or mode to IPTables"
            ));
        }
    }
}
