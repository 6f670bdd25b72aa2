//! What waits to be planned: the latest state of each object, however often it changed meanwhile.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_kernel::links::RouteNotice;
use sluice_service_plan::model::{EndpointSlice, Family, NodeFacts, ObjectName, Service};

use super::node_network::NodeNetwork;
use crate::source::Revision;

/// Changes taken out of the [`Inbox`] together. An object that is absent here did not change; one that is `None` was removed.
#[derive(Debug, Default)]
pub struct Batch {
    /// Services by name.
    pub services: BTreeMap<ObjectName, Option<Service>>,
    /// Slices by name.
    pub slices: BTreeMap<ObjectName, Option<EndpointSlice>>,
    /// What the source tells of the node; its `addresses` mean nothing here.
    pub node: Option<NodeFacts>,
    /// Addresses and routes of the node.
    pub network: Option<NodeNetwork>,
    /// The policy in force.
    pub policy: Option<ServiceProxyPolicySpec>,
    /// Whose settings the policy in force is made of.
    pub revision: Option<Revision>,
    /// What caused changes of slices, where they tell it: the oldest of each slice.
    pub causes: BTreeMap<ObjectName, Cause>,
}

/// What caused the change of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// Of the slice's addresses.
    pub family: Family,
    /// By the clock of who saw it first.
    pub at: Timestamp,
}

impl Batch {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.slices.is_empty()
            && self.node.is_none()
            && self.network.is_none()
            && self.policy.is_none()
            && self.revision.is_none()
    }

    /// Later changes win.
    fn merge(&mut self, later: Self) {
        self.services.extend(later.services);
        self.slices.extend(later.slices);
        self.node = later.node.or(self.node.take());
        self.network = later.network.or(self.network.take());
        self.policy = later.policy.or(self.policy.take());
        self.revision = later.revision.or(self.revision.take());
        for (slice, cause) in later.causes {
            self.causes.entry(slice).or_insert(cause);
        }
    }
}

/// With more of them, everything is looked at.
const MOST_NOTICES: usize = 1024;

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    oldest: Option<Instant>,
    listed: bool,
    ruleset_changed: bool,
    lost_bindings: Vec<RouteNotice>,
    /// Counts everything that came in, so that a waiter can tell news from what it has seen.
    news: u64,
}

/// The queue between those who learn of changes and the thread that programs the kernel.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Inbox {
    /// Adds changes, which came in `now`, to those that wait.
    pub fn push(&self, changes: Batch, now: Instant) {
        if changes.is_empty() {
            return;
        }
        self.tell(|waiting| {
            waiting.batch.merge(changes);
            waiting.oldest.get_or_insert(now);
        });
    }

    /// Everything has been listed once: from now on the kernel may be written.
    pub fn set_listed(&self) {
        self.tell(|waiting| waiting.listed = true);
    }

    /// Somebody else changed rules where ours are.
    pub fn set_ruleset_changed(&self) {
        self.tell(|waiting| waiting.ruleset_changed = true);
    }

    /// Routes of service addresses went, or links did.
    pub fn push_lost_bindings(&self, notices: Vec<RouteNotice>) {
        self.tell(|waiting| {
            let lost = &mut waiting.lost_bindings;
            lost.extend(notices);
            if lost.len() > MOST_NOTICES {
                *lost = vec![RouteNotice::Overrun];
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        change(&mut waiting);
        waiting.news += 1;
        self.arrived.notify_all();
    }

    /// Services, slices and the own node have all been listed once.
    pub fn is_listed(&self) -> bool {
        self.lock().listed
    }

    /// When the oldest change that waits came in.
    pub fn oldest_change(&self) -> Option<Instant> {
        self.lock().oldest
    }

    /// How many services and slices wait.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.batch.services.len(), waiting.batch.slices.len())
    }

    /// Takes all changes, and when the oldest came in.
    pub fn take(&self) -> Option<(Batch, Instant)> {
        let mut waiting = self.lock();
        let oldest = waiting.oldest.take()?;
        Some((std::mem::take(&mut waiting.batch), oldest))
    }

    /// Whether rules were changed by somebody since this was last forgotten.
    pub fn is_ruleset_changed(&self) -> bool {
        self.lock().ruleset_changed
    }

    /// All rules are about to be looked at.
    pub fn forget_ruleset_change(&self) {
        self.lock().ruleset_changed = false;
    }

    /// Whether there are notices of lost bindings to be taken.
    pub fn is_binding_lost(&self) -> bool {
        !self.lock().lost_bindings.is_empty()
    }

    /// Takes the notices of lost bindings.
    pub fn take_lost_bindings(&self) -> Vec<RouteNotice> {
        std::mem::take(&mut self.lock().lost_bindings)
    }

    /// A number that grows with everything that comes in.
    pub fn news(&self) -> u64 {
        self.lock().news
    }

    /// Waits until something comes in that `seen` does not count, or until the deadline.
    pub fn wait(&self, seen: u64, deadline: Instant) {
        let mut waiting = self.lock();
        while waiting.news == seen {
            let Some(left) = deadline
                .checked_duration_since(Instant::now())
                .filter(|d| !d.is_zero())
            else {
                return;
            };
            waiting = self
                .arrived
                .wait_timeout(waiting, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn removed(name: &str) -> Batch {
        Batch {
            services: BTreeMap::from([(ObjectName::new("ns", name), None)]),
            ..Batch::default()
        }
    }

    fn node(name: &str) -> Batch {
        let facts = NodeFacts {
            name: name.into(),
            ..NodeFacts::default()
        };
        Batch {
            node: Some(facts),
            ..Batch::default()
        }
    }

    #[test]
    fn many_changes_of_one_object_become_its_latest_state() {
        let inbox = Inbox::default();
        inbox.push(removed("a"), Instant::now());
        let oldest = inbox.oldest_change().unwrap();
        for name in ["b", "a"] {
            inbox.push(removed(name), Instant::now());
        }
        for batch in [node("first"), node("second")] {
            inbox.push(batch, Instant::now());
        }
        inbox.push(
            Batch {
                network: Some(NodeNetwork::default()),
                ..Batch::default()
            },
            Instant::now(),
        );
        let (batch, since) = inbox.take().unwrap();
        assert_eq!(since, oldest);
        assert_eq!(batch.services.len(), 2);
        assert_eq!(&*batch.node.unwrap().name, "second");
        assert!(inbox.take().is_none() && inbox.oldest_change().is_none());
    }

    #[test]
    fn an_empty_batch_is_no_news() {
        let inbox = Inbox::default();
        inbox.push(Batch::default(), Instant::now());
        assert_eq!((inbox.news(), inbox.oldest_change()), (0, None));
    }

    #[test]
    fn a_waiter_is_woken_by_news_and_not_by_what_it_has_seen() {
        let inbox = Arc::new(Inbox::default());
        inbox.push(removed("a"), Instant::now());
        let start = Instant::now();
        inbox.wait(inbox.news(), start + Duration::from_millis(30));
        assert!(
            start.elapsed() >= Duration::from_millis(30),
            "it was woken by old news"
        );

        let seen = inbox.news();
        let other = Arc::clone(&inbox);
        let teller = std::thread::spawn(move || other.set_ruleset_changed());
        inbox.wait(seen, Instant::now() + Duration::from_secs(60));
        teller.join().unwrap();
        assert!(inbox.is_ruleset_changed());
        inbox.forget_ruleset_change();
        assert!(!inbox.is_ruleset_changed());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
