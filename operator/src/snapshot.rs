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
pub(crate) fn first_seen(written: Timestamp, now: Timestamp) -> Timestamp {
    written
        .checked_add(SKEW)
        .map_or(now, |latest| latest.min(now))
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) policies: usize,
    pub(crate) nodes: usize,
    /// Nodes that can be reached and whose agent has reported at least once.
    pub(crate) nodes_with_agent: usize,
    pub(crate) services: usize,
}

impl Snapshot {
    pub(crate) fn counts(&self) -> Counts {
        let with_agent = self.nodes.values().filter(|node| {
            let proxy = self.proxies.get(&node.name);
            let proxy = proxy.filter(|proxy| proxy.owner.as_deref() == Some(node.uid.as_str()));
            node.is_reachable && proxy.is_some_and(|proxy| !proxy.is_silent())
        });
        Counts {
            policies: self.policies.len(),
            nodes: self.nodes.len(),
            nodes_with_agent: with_agent.count(),
            services: self.services,
        }
    }

    /// Puts an object of a node in place, and remembers since when it has been on its way, ready, or not ready any more.
    pub fn set_proxy(&mut self, name: &Arc<str>, mut proxy: Proxy, now: Timestamp) {
        let seen = |written: Option<Timestamp>| written.map(|at| first_seen(at, now));
        let is_ready = proxy.answer == Answer::Ready;
        let known = self.proxies.get(name);
        let same = known.filter(|same| same.told == proxy.told && same.moved_at == proxy.moved_at);
        let made_at = known.and_then(|known| known.made_at);
        proxy.made_at = made_at.or_else(|| seen(proxy.made_at));
        let moving_since = same.and_then(|same| same.moving_since);
        proxy.moving_since = moving_since.or_else(|| seen(proxy.moved_at));
        let was_ready = same.filter(|same| same.answer == Answer::Ready);
        let since = was_ready.and_then(|same| same.ready_since);
        let ended = since.filter(|_| !is_ready).map(|at| now.duration_since(at));
        proxy.longest_ready = same.map_or(SignedDuration::ZERO, |same| same.longest_ready);
        proxy.longest_ready = proxy.longest_ready.max(ended.unwrap_or_default());
        (proxy.ready_since, proxy.unready_since) = match (known, same) {
            // What an agent says may have been so, and written, before the node was moved.
            (None, _) if is_ready => {
                let since = seen(proxy.ready_since).unwrap_or(now);
                (proxy.moving_since.max(Some(since)), None)
            }
            (None, _) => (None, seen(proxy.unready_since)),
            (_, None) => (is_ready.then_some(now), None),
            (_, Some(same)) => match (same.answer == Answer::Ready, is_ready) {
                (false, true) => (Some(now), None),
                (true, false) => (same.ready_since, Some(now)),
                (false, false) if same.is_silent() && !proxy.is_silent() => (None, Some(now)),
                _ => (same.ready_since, same.unready_since),
            },
        };
        self.proxies.insert(Arc::clone(name), proxy);
    }

    /// Nothing was heard of nodes in this time, nor could they be told anything: it does not count where a node may be late.
    pub fn was_unheard(&mut self, since: Timestamp, now: Timestamp) {
        let lost = now.duration_since(since);
        let shift = |at: &mut Option<Timestamp>| {
            *at = at.map(|at| at.checked_add(lost).map_or(now, |at| at.min(now)));
        };
        for proxy in self.proxies.values_mut() {
            shift(&mut proxy.moving_since);
            shift(&mut proxy.unready_since);
            shift(&mut proxy.made_at);
        }
        for node in self.nodes.values_mut() {
            shift(&mut node.so_since);
        }
    }

    /// Puts a node in place, and remembers since when it can be reached, or cannot.
    pub fn set_node(&mut self, mut node: Node, now: Timestamp) {
        node.so_since = match self.nodes.get(&node.name) {
            Some(known) if known.is_reachable == node.is_reachable => known.so_since,
            Some(_) => Some(now),
            None => node.so_since.map(|written| first_seen(written, now)),
        };
        self.nodes.insert(Arc::clone(&node.name), node);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_crds::v1alpha1::MOVED_AT;

    use super::*;
    use crate::cluster::StoredProxy;

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
            so_since: Some(written),
            not_ready_taint: None,
        }
    }

    fn so_since(snapshot: &Snapshot) -> Option<Timestamp> {
        snapshot.nodes["n1"].so_since
    }

    #[test]
    fn a_node_that_goes_or_comes_back_counts_from_when_that_is_seen_here() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(-900)), at(0));
        snapshot.set_node(node(false, at(10)), at(12));
        assert_eq!(so_since(&snapshot), Some(at(12)));
        snapshot.set_node(node(false, at(10)), at(300));
        assert_eq!(so_since(&snapshot), Some(at(12)));
        // By another clock it came back an hour ago.
        snapshot.set_node(node(true, at(-3600)), at(700));
        assert_eq!(so_since(&snapshot), Some(at(700)));
        snapshot.set_node(node(true, at(-3600)), at(720));
        assert_eq!(so_since(&snapshot), Some(at(700)));
    }

    #[test]
    fn a_node_that_is_seen_first_has_been_reachable_no_longer_than_a_wrong_clock_can_mean() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(-3600)), at(0));
        assert_eq!(so_since(&snapshot), Some(at(-3300)));
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node(true, at(3600)), at(0));
        assert_eq!(so_since(&snapshot), Some(at(0)));
    }

    /// An object that was moved at one time and whose conditions have been what they are since others.
    fn proxy(moved_at: i64, conditions: [(&str, i64); 3]) -> Proxy {
        let said = ["Supported", "Programmed", "Healthy"]
            .into_iter()
            .zip(conditions);
        let conditions: Vec<_> = said
            .map(|(kind, (status, since))| {
                json!({
                    "type": kind, "status": status, "reason": "R", "message": "", "observedGeneration": 2,
                    "lastTransitionTime": at(since).to_string(),
                })
            })
            .collect();
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy",
            "metadata": {
                "name": "n1", "generation": 2, "creationTimestamp": at(-9000).to_string(),
                "annotations": {MOVED_AT: at(moved_at).to_string()},
            },
            "spec": {"policy": "p", "policyGeneration": 1, "revision": "p-1", "mode": "IPTables", "settings": {}},
            "status": {
                "observedRevision": "p-1", "activeMode": "IPTables", "conditions": conditions,
                "capabilities": {"kernel": "6.1.0", "ipvs": true},
            },
        });
        serde_json::from_value::<StoredProxy>(object)
            .unwrap()
            .read()
    }

    fn seen(snapshot: &mut Snapshot, proxy: Proxy, second: i64) -> [Option<Timestamp>; 2] {
        snapshot.set_proxy(&Arc::from("n1"), proxy, at(second));
        let proxy = &snapshot.proxies["n1"];
        [proxy.ready_since, proxy.unready_since]
    }

    #[test]
    fn a_node_that_is_ready_when_it_is_seen_first_has_been_so_since_the_last_of_what_it_says() {
        let since = |moved_at, conditions| {
            let seen = seen(&mut Snapshot::default(), proxy(moved_at, conditions), 0);
            assert_eq!(seen[1], None);
            seen[0].unwrap()
        };
        let long = [("True", -3600), ("True", -1800), ("True", -3600)];
        assert_eq!(since(-7200, long), at(-1500));
        // What it said before it was moved does not count.
        assert_eq!(since(-900, long), at(-600));
        let ahead = [("True", -3600), ("True", 1800), ("True", -3600)];
        assert_eq!(since(-7200, ahead), at(0));
    }

    #[test]
    fn a_node_that_is_not_ready_when_it_is_seen_first_has_not_been_so_since_the_first_of_what_it_says()
     {
        let since = |conditions| seen(&mut Snapshot::default(), proxy(-7200, conditions), 0);
        let fallen = [("True", -7200), ("False", -1800), ("False", -1200)];
        assert_eq!(since(fallen), [None, Some(at(-1500))]);
        let ahead = [("True", -7200), ("True", -7200), ("False", 1800)];
        assert_eq!(since(ahead), [None, Some(at(0))]);
    }

    #[test]
    fn what_is_seen_here_counts_from_then_whatever_is_written() {
        let mut snapshot = Snapshot::default();
        let ready = || proxy(-7200, [("True", -3600); 3]);
        let fallen = || proxy(-7200, [("True", -3600), ("False", 900), ("True", -3600)]);
        let was_ready = Some(at(-3300));
        assert_eq!(seen(&mut snapshot, ready(), 0), [was_ready, None]);
        assert_eq!(seen(&mut snapshot, ready(), 5), [was_ready, None]);
        let fell = Some(at(10));
        assert_eq!(seen(&mut snapshot, fallen(), 10), [was_ready, fell]);
        assert_eq!(seen(&mut snapshot, fallen(), 15), [was_ready, fell]);
        assert_eq!(seen(&mut snapshot, ready(), 20), [Some(at(20)), None]);
        // It is moved, and all is forgotten.
        assert_eq!(
            seen(&mut snapshot, proxy(30, [("False", 31); 3]), 32),
            [None, None]
        );
        assert_eq!(snapshot.proxies["n1"].made_at, Some(at(-8700)));
    }
}
