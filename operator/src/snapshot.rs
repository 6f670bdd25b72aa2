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
