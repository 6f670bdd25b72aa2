//! What became of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mode::ActiveMode;
use super::schema::{conditions, structural};

/// What the operator knows of the nodes that the policy counts for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = structural)]
pub struct ServiceProxyPolicyStatus {
    /// `metadata.generation` that the status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Nodes that the policy counts for: selected by it, and by no other one that goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_nodes: Option<u32>,
    /// Of them, those that have taken `updateRevision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_nodes: Option<u32>,
    /// Of them, those that are programmed and healthy at the revision that they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_nodes: Option<u32>,
    /// How many nodes run which data plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["mode"],
    ))]
    pub modes: Vec<ModeCount>,
    /// The revision that every node had taken when the last rollout ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub current_revision: Option<String>,
    /// The revision that nodes are moved to; `currentRevision` when there is nothing to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub update_revision: Option<String>,
    /// The revision that failed. It is not tried again until the spec is edited; any edit is a new try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub rejected_revision: Option<String>,
    /// `Accepted`: it counts for the nodes that it selects. `Ready`, `Reconciling`, `Stalled`: how its rollout goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// How many nodes run a data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModeCount {
    /// The data plane.
    pub mode: ActiveMode,
    /// The number of nodes.
    pub nodes: u32,
}
