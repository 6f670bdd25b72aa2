//! What a source tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_service_plan::model::{EndpointSlice, NodeFacts, ObjectName, Service};

use super::Refusal;

/// Settings that a node was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.generation` of the object that has them.
    pub generation: i64,
}

/// What changed since the update before. An object that is absent here did not change; one that is `None` is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Services by name.
    pub services: BTreeMap<ObjectName, Option<Service>>,
    /// Slices by name.
    pub slices: BTreeMap<ObjectName, Option<EndpointSlice>>,
    /// When what caused the change of a slice happened, for slices that tell it (annotation `endpoints.kubernetes.io/last-change-trigger-time`).
    pub causes: BTreeMap<ObjectName, Timestamp>,
    /// The agent's own node. Its `addresses` are empty: only the kernel knows those.
    pub node: Option<NodeFacts>,
    /// The policy in force for this node: the one that the source has, else the one that the agent was started with.
    pub policy: Option<ServiceProxyPolicySpec>,
    /// Whose settings the policy in force is made of, where somebody gives them out by revisions.
    pub revision: Option<Revision>,
    /// Refusals that the update before did not have.
    pub refusals: Vec<Refusal>,
    /// Refusals that the update before had and that stand no longer.
    pub settled: Vec<Refusal>,
}

impl Update {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.slices.is_empty()
            && self.node.is_none()
            && self.policy.is_none()
            && self.revision.is_none()
            && self.refusals.is_empty()
            && self.settled.is_empty()
    }
}
