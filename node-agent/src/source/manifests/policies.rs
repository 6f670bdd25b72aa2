//! Which of several policies counts for a node, and which do not.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    selecting.sort_by_key(|policy| (Reverse(policy.spec.priority), policy.created, &policy.name));
    selecting
}

/// What is told of the policies that do not count, of all that [select](selecting) the node.
pub(super) fn losers<'a>(selecting: &[&'a Policy]) -> Vec<(&'a Policy, String)> {
    let Some((winner, losers)) = selecting.split_first() else {
        return Vec::new();
    };
    let told = losers.iter().map(|loser| {
        let why = if winner.spec.priority == loser.spec.priority {
            "has the same priority and is older, or comes first by name"
        } else {
            "has a higher priority"
        };
        let reason = format!(
            "{} selects this node too and counts, because it {why}: raise this policy's priority, or let it select other nodes",
            winner.name
        );
        (*loser, reason)
    });
    told.collect()
}
