//! Pods that reach themselves through a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the CNI plugin does on the node so that a pod reaches itself through a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hairpin {
    /// Which way; pods that are attached from then on get it. Default: `HairpinVeth`.
    pub mode: HairpinMode,
}

/// What the CNI plugin does so that a pod reaches itself through a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum HairpinMode {
    /// The pod's port of the bridge may send a packet back by the port that it came in by.
    #[default]
    HairpinVeth,
    /// Nothing: the main plugin takes care of it.
    None,
}
