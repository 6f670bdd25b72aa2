//! Which nodes agents are for.

use std::collections::BTreeMap;

/// What a node runs, as its kubelet says.
const OS_LABEL: &str = "kubernetes.io/os";

/// Whether a node with these labels can have an agent: one that runs Windows keeps kube-proxy.
#[must_use]
pub fn can_have_agent(labels: &BTreeMap<String, String>) -> bool {
    labels.get(OS_LABEL).is_none_or(|os| os != "windows")
}
