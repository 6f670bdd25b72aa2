//! Everything that decisions depend on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::objects::{Answer, Node, Policy, Proxy};
use crate::revision::Revision;

/// The policy that counts where no other does. No object has it; its rollout is the default one.
pub const BUILT_IN: &str = "built-in";

/// What the API server holds, as far as it has been told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Policies by name.
    pub policies: BTreeMap<Arc<str>, Policy>,
    /// Nodes by name.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// Objects of nodes by name.
    pub proxies: BTreeMap<Arc<str>, Proxy>,
    /// Kept revisions by name.
    pub revisions: BTreeMap<Arc<str>, Revision>,
    /// Services that are proxied.
    pub services: usize,
}

/// Clocks of other machines may be wrong by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Since when something has been so that is seen now for the first time, by our clock. Another machine may have written when it began: that says only
/// that it is no later than now, and no later than that clock, were it wrong by [`SKEW`], can mean.
fn first_seen(written: Timestamp, now: Timestamp) -> Timestamp {
    written
        .checked_add(SKEW)
        .map_or(now, |latest| latest.min(now))
}

impl Snapshot {
    /// Puts an object of a node in place, and remembers since when it has been ready, or on its way.
    pub fn set_proxy(&mut self, name: &Arc<str>, mut proxy: Proxy, now: Timestamp) {
        let same = self.proxies.get(name);
        let same = same.filter(|same| same.told == proxy.told && same.moved_at == proxy.moved_at);
        let is_ready = proxy.answer == Answer::Ready;
        let was_ready_since = same.and_then(|same| same.ready_since);
        proxy.ready_since = is_ready.then(|| was_ready_since.unwrap_or(now));
        let was_moving_since = same.and_then(|same| same.moving_since);
        proxy.moving_since = proxy
            .moved_at
            .map(|written| was_moving_since.unwrap_or_else(|| first_seen(written, now)));
        self.proxies.insert(Arc::clone(name), proxy);
    }

    /// Puts a node in place, and remembers since when it can be reached.
    pub fn set_node(&mut self, mut node: Node, now: Timestamp) {
        node.reachable_since = match self.nodes.get(&node.name) {
            Some(known) if known.is_reachable => known.reachable_since,
            Some(_) => Some(now),
            None => node.reachable_since.map(|written| first_seen(written, now)),
        };
        self.nodes.insert(Arc::clone(&node.name), node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// As the API server has it, with what the node's own clock or the controller's wrote.
    fn node(is_reachable: bool, written: Timestamp) -> Node {
        Node {
            name: Arc::from("n1"),
            uid: "uid-n1".to_owned(),
            labels: BTreeMap::new(),
            is_reachable,
            reachable_since: Some(written),
            not_ready_taint: None,
        }
    }

    fn reachable_since(snapshot: &Snapshot) -> Option<Timestamp> {
        snapshot.nodes["n1"].reachable_since
    }

    #[test]
    fn a_node_that_comes_back_counts_from_when_that_is_seen_here() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(-900)), at(0));
        snapshot.set_node(node(false, at(10)), at(10));
        // By another clock it came back an hour ago.
        snapshot.set_node(node(true, at(-3600)), at(700));
        assert_eq!(reachable_since(&snapshot), Some(at(700)));
        snapshot.set_node(node(true, at(-3600)), at(720));
        assert_eq!(reachable_since(&snapshot), Some(at(700)));
    }

    #[test]
    fn a_node_that_is_seen_first_has_been_reachable_no_longer_than_a_wrong_clock_can_mean() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(-3600)), at(0));
        assert_eq!(reachable_since(&snapshot), Some(at(-3300)));
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(3600)), at(0));
        assert_eq!(reachable_since(&snapshot), Some(at(0)));
    }
}
