//! What one node shall run, and what it runs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use super::iptables::InstalledVariant;
use super::mode::ActiveMode;
use super::policy::{NO_LOCALHOST_IN_IPVS, ServiceProxyPolicySpec};
use super::resolved_settings::ResolvedSettings;
use super::schema::{conditions, rule, says, structural};

/// What the node shall run. The operator writes it; a person changes the policy instead.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "NodeServiceProxy",
    plural = "nodeserviceproxies",
    shortname = "nsp",
    category = "sluice",
    doc = "How one node serves Services. It has the name of its Node and belongs to it: the operator says in spec what the node shall run, and the node's agent in status what it runs.",
    derive = "PartialEq",
    status = "NodeServiceProxyStatus",
    selectable = ".spec.policy",
    printcolumn = r#"{"name": "Policy", "type": "string", "jsonPath": ".spec.policy", "description": "Policy that counts for the node."}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "description": "Data plane that the node shall run."}"#,
    printcolumn = r#"{"name": "Active", "type": "string", "jsonPath": ".status.activeMode", "description": "Data plane that new connections take."}"#,
    printcolumn = r#"{"name": "Revision", "type": "string", "jsonPath": ".spec.revision", "description": "Revision that the node shall have."}"#,
    printcolumn = r#"{"name": "Observed", "type": "string", "jsonPath": ".status.observedRevision", "description": "Revision that the node has taken."}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status", "description": "The kernel holds what the revision asks for."}"#,
    printcolumn = r#"{"name": "Healthy", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Healthy\")].status", "description": "The agent keeps up with changes."}"#,
    printcolumn = r#"{"name": "Kernel", "type": "string", "jsonPath": ".status.capabilities.kernel", "priority": 1, "description": "Release of the node's kernel."}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since it was made."}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = NodeServiceProxySpec::rules()), transform = structural)]
pub struct NodeServiceProxySpec {
    /// Name of the policy that counts for the node.
    #[schemars(length(min = 1, max = 253))]
    pub policy: String,
    /// `metadata.generation` of the policy that the settings are from.
    #[schemars(range(min = 1))]
    pub policy_generation: i64,
    /// Name of the revision: the same settings have the same name.
    #[schemars(length(min = 1, max = 253))]
    pub revision: String,
    /// The data plane. The operator has decided what `Auto` means for the node.
    pub mode: ActiveMode,
    /// Everything else that the policy says to a node.
    // Applied as a whole: what somebody adds goes with the next apply, which would not mention it.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub settings: ResolvedSettings,
}

/// What the node runs. Only its agent writes it, when a revision, the mode or a condition changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
pub struct NodeServiceProxyStatus {
    /// The revision that the agent has taken; what became of it is in the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub observed_revision: Option<String>,
    /// The data plane that new connections take. Old ones may end on another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_mode: Option<ActiveMode>,
    /// Service ports that it served when the status was written last, those of a Service with two address families twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ports: Option<u32>,
    /// What the node can run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// `Supported`: the node can run the revision. `Programmed`: the kernel holds what it asks for. `Healthy`: the agent keeps up with changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// What the node can run, as tried out by its agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Release of its kernel, such as `6.1.0-56-amd64`.
    #[schemars(length(max = 253))]
    pub kernel: String,
    /// The iptables variants that work.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub iptables: Vec<InstalledVariant>,
    /// IPVS works, and no firewall of another table would drop what it serves. Tried hourly.
    #[serde(default)]
    pub ipvs: bool,
    /// Address sets (ipset) work. Every mode needs them.
    #[serde(default)]
    pub ipset: bool,
    /// nftables works.
    #[serde(default)]
    pub nftables: bool,
}

impl NodeServiceProxySpec {
    fn rules() -> [Rule; 1] {
        [rule(
            ".mode",
            "self.mode != 'IPVS' || !self.settings.nodePorts.localhost",
            says(format_args!(
                "{NO_LOCALHOST_IN_IPVS}: set settings.nodePorts.localhost to false, or mode to IPTables"
            )),
        )]
    }

    /// The same as a policy that asks for this mode, which is what an agent resolves.
    pub fn as_policy(&self) -> ServiceProxyPolicySpec {
        self.settings.to_policy(self.mode.into())
    }

    /// Everything that is wrong with it; empty when it can be used.
    pub fn validate(&self) -> Vec<Invalid> {
        let in_settings = |field: &str| match field.strip_prefix("spec.") {
            Some("mode") | None => field.to_owned(),
            Some(field) => format!("spec.settings.{field}"),
        };
        let found = self.as_policy().validate().into_iter();
        found
            .map(|Invalid { field, message }| Invalid {
                field: in_settings(&field),
                message: message.replace("set nodePorts.", "set settings.nodePorts."),
            })
            .collect()
    }
}
