//! The agent's own node.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use sluice_service_plan::model::NodeFacts;

use super::addresses::{network, parse_address};
use super::error::FieldError;
use super::names::unnamespaced;

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The cluster autoscaler's taint on a node that it is about to delete.
const DELETION_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// A Node, as far as the agent on it depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeObject {
    /// What plans depend on; `addresses` is empty, only the kernel knows those, and `health_port` absent, only the agent knows it.
    pub facts: NodeFacts,
    /// Labels, by which policies select it.
    pub labels: BTreeMap<String, String>,
}

/// Reduces a Node to the fields that matter.
pub fn node(object: k8s::Node) -> Result<NodeObject, FieldError> {
    let name = Arc::from(unnamespaced(&object.metadata)?);
    let labels = object.metadata.labels.unwrap_or_default();
    let spec = object.spec.unwrap_or_default();
    let being_deleted = object.metadata.deletion_timestamp.is_some()
        || spec
            .taints
            .iter()
            .flatten()
            .any(|taint| taint.key == DELETION_TAINT);
    let cidrs = match spec.pod_cidrs.as_deref() {
        Some(cidrs @ [_, ..]) => cidrs,
        _ => spec.pod_cidr.as_slice(),
    };
    let pod_cidrs = cidrs
        .iter()
        .enumerate()
        .map(|(index, text)| network(text, || format!("spec.podCIDRs[{index}]")));
    let addresses = object.status.and_then(|status| status.addresses);
    let internal_ips = addresses
        .iter()
        .flatten()
        .filter(|entry| entry.type_ == "InternalIP")
        // The status is a cloud controller's: what is odd in it does not keep the rest of the node from counting.
        .filter_map(|entry| parse_address(&entry.address));
    Ok(NodeObject {
        facts: NodeFacts {
            name,
            zone: labels
                .get(ZONE_LABEL)
                .filter(|zone| !zone.is_empty())
                .map(|zone| Arc::from(zone.as_str())),
            internal_ips: internal_ips.collect(),
            addresses: Vec::new(),
            pod_cidrs: pod_cidrs.collect::<Result<_, _>>()?,
            being_deleted,
            health_port: None,
        },
        labels,
    })
}
