//! Which of several policies counts for a node.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::Policy;

/// The policy that counts for a node with these labels: the highest priority, of equals the older one, then by name.
pub(super) fn in_force<'a>(
    policies: &'a BTreeMap<Arc<str>, Policy>,
    labels: &BTreeMap<String, String>,
) -> Option<&'a Policy> {
    let selecting = policies
        .values()
        .filter(|policy| policy.spec.node_selector.matches(labels));
    selecting.min_by_key(|policy| {
        (
            Reverse(policy.spec.priority),
            policy.created,
            policy.name.clone(),
        )
    })
}
