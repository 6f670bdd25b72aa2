//! Which policy counts for which node. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sluice_crds::v1alpha1::{LabelSelector, Precedence, why_not};

use crate::objects::Node;

/// A policy as far as it is decided by it which nodes it counts for.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Name.
    pub name: &'a Arc<str>,
    /// Seconds since the epoch.
    pub created: i64,
    /// `spec.priority`.
    pub priority: i32,
    /// `spec.nodeSelector`.
    pub selector: &'a LabelSelector,
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The policy of each node that one selects.
    pub policy_of: BTreeMap<Arc<str>, Arc<str>>,
    /// Of each policy that does not count for some node that it selects: why.
    pub overridden: BTreeMap<Arc<str>, Overridden>,
}

/// A policy that does not count everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overridden {
    /// Nodes that it selects.
    pub selected: usize,
    /// Of them, those where another counts.
    pub lost: usize,
    /// Why, and what to do.
    pub reason: String,
}

/// Decides. The result depends on what there is only, not on its order.
pub fn resolve<'a>(
    policies: impl IntoIterator<Item = Candidate<'a>>,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> Resolved {
    let mut policies: Vec<Candidate<'a>> = policies.into_iter().collect();
    policies.sort_by_key(|policy| Precedence::new(policy.priority, policy.created, policy.name));
    let mut resolved = Resolved::default();
    let mut counts: BTreeMap<&Arc<str>, (usize, BTreeMap<usize, usize>)> = BTreeMap::new();
    for node in nodes {
        let selecting = policies.iter().enumerate();
        let mut selecting = selecting.filter(|(_, policy)| policy.selector.matches(&node.labels));
        let Some((first, winner)) = selecting.next() else {
            continue;
        };
        counts.entry(winner.name).or_default().0 += 1;
        for (_, loser) in selecting {
            let (selected, lost) = counts.entry(loser.name).or_default();
            *selected += 1;
            *lost.entry(first).or_default() += 1;
        }
        resolved
            .policy_of
            .insert(Arc::clone(&node.name), Arc::clone(winner.name));
    }
    for policy in &policies {
        let Some((selected, lost)) = counts.get(policy.name) else {
            continue;
        };
        // Who takes most of its nodes is told of.
        let Some((winner, _)) = lost
            .iter()
            .max_by_key(|(index, nodes)| (**nodes, std::cmp::Reverse(**index)))
        else {
            continue;
        };
        let winner = &policies[*winner];
        let overridden = Overridden {
            selected: *selected,
            lost: lost.values().sum(),
            reason: why_not(policy.priority, winner.name, winner.priority),
        };
        resolved
            .overridden
            .insert(Arc::clone(policy.name), overridden);
    }
    resolved
}

/// Nodes by the policy that counts for them; the last element has those that no policy selects.
pub fn pools<'a>(
    resolved: &Resolved,
    nodes: impl IntoIterator<Item = &'a Arc<str>>,
) -> BTreeMap<Option<Arc<str>>, BTreeSet<Arc<str>>> {
    let mut pools: BTreeMap<Option<Arc<str>>, BTreeSet<Arc<str>>> = BTreeMap::new();
    for node in nodes {
        let policy = resolved.policy_of.get(node).cloned();
        pools.entry(policy).or_default().insert(Arc::clone(node));
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(name: &str, pool: &str) -> Node {
        Node {
            name: Arc::from(name),
            uid: format!("uid-{name}"),
            labels: [("pool".to_owned(), pool.to_owned())].into(),
            is_reachable: true,
            so_since: None,
            not_ready_taint: None,
        }
    }

    fn selector(pool: Option<&str>) -> LabelSelector {
        LabelSelector {
            match_labels: pool
                .map(|pool| ("pool".to_owned(), pool.to_owned()))
                .into_iter()
                .collect(),
            match_expressions: Vec::new(),
        }
    }

    #[test]
    fn the_highest_priority_counts_then_the_older_one_then_the_name() {
        let (all, edge) = (selector(None), selector(Some("edge")));
        let names: [Arc<str>; 4] = ["all", "edge-b", "edge-a", "young"].map(Arc::from);
        let rows = [(0, 5, &all), (10, 7, &edge), (10, 7, &edge), (10, 8, &edge)];
        let candidates = names
            .iter()
            .zip(rows)
            .map(|(name, (priority, created, selector))| Candidate {
                name,
                created,
                priority,
                selector,
            });
        let nodes = [node("n1", "edge"), node("n2", "inner")];
        let resolved = resolve(candidates, &nodes);
        assert_eq!(&*resolved.policy_of["n1"], "edge-a");
        assert_eq!(&*resolved.policy_of["n2"], "all");
        assert_eq!(
            (
                resolved.overridden["all"].selected,
                resolved.overridden["all"].lost
            ),
            (2, 1)
        );
        assert!(
            resolved.overridden["all"]
                .reason
                .contains("higher priority")
        );
        assert!(
            resolved.overridden["edge-b"].reason.contains("edge-a")
                && resolved.overridden["edge-b"]
                    .reason
                    .contains("same priority")
        );
        assert!(!resolved.overridden.contains_key("edge-a"));
    }

    proptest! {
        #[test]
        fn who_counts_depends_on_what_there_is_and_not_on_its_order(
            policies in prop::collection::vec((0..3i32, 0..3i64, prop::option::of(0..3u8)), 0..6),
            nodes in prop::collection::vec(0..4u8, 0..6),
            seed in any::<u64>(),
        ) {
            let names: Vec<Arc<str>> = (0..policies.len()).map(|n| Arc::from(format!("p{n}"))).collect();
            let selectors: Vec<LabelSelector> = policies
                .iter()
                .map(|(_, _, pool)| selector(pool.map(|pool| pool.to_string()).as_deref()))
                .collect();
            let nodes: Vec<Node> = nodes.iter().enumerate().map(|(n, pool)| node(&format!("n{n}"), &pool.to_string())).collect();
            let candidates: Vec<Candidate<'_>> = (0..policies.len())
                .map(|n| Candidate { name: &names[n], created: policies[n].1, priority: policies[n].0, selector: &selectors[n] })
                .collect();
            let resolved = resolve(candidates.clone(), &nodes);
            let mut shuffled = candidates.clone();
            let mut shuffled_nodes: Vec<&Node> = nodes.iter().collect();
            if !shuffled.is_empty() {
                let by = usize::try_from(seed % shuffled.len() as u64).unwrap();
                shuffled.rotate_left(by);
                shuffled.reverse();
            }
            shuffled_nodes.reverse();
            prop_assert_eq!(&resolve(shuffled, shuffled_nodes), &resolved);
            for node in &nodes {
                let selecting = candidates.iter().filter(|c| c.selector.matches(&node.labels));
                let first = selecting.min_by_key(|c| Precedence::new(c.priority, c.created, c.name));
                prop_assert_eq!(resolved.policy_of.get(&node.name), first.map(|c| c.name));
            }
        }
    }
}
