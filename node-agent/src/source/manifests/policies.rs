//! Which of several policies counts for a node, and which do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_crds::v1alpha1::{Precedence, why_not};

use super::object::Policy;

/// The policies that select a node with these labels, the one that counts first: the highest priority, of equals the older one,
/// then by name.
pub(super) fn selecting<'a>(
    policies: &'a BTreeMap<Arc<str>, Policy>,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a Policy> {
    let mut selecting: Vec<&Policy> = policies
        .values()
        .filter(|policy| policy.spec.node_selector.matches(labels))
        .collect();
    selecting
        .sort_by_key(|policy| Precedence::new(policy.spec.priority, policy.created, &policy.name));
    selecting
}

/// What is told of the policies that do not count, of all that [select](selecting) the node.
pub(super) fn losers<'a>(selecting: &[&'a Policy]) -> Vec<(&'a Policy, String)> {
    let Some((winner, losers)) = selecting.split_first() else {
        return Vec::new();
    };
    let told = losers.iter().map(|loser| {
        let priority = winner.spec.priority;
        (*loser, why_not(loser.spec.priority, &winner.name, priority))
    });
    told.collect()
}
