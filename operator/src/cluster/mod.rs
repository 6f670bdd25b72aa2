//! The API server: what it holds, kept up to date, and what is written to it.

mod access;
mod contest;
mod events;
mod failures;
mod kept_revision;
mod patience;
mod requests;
mod stored;
mod watch;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::Resource;
use kube::api::ObjectMeta;
use tokio::sync::Notify;

use crate::objects::Policy;
use crate::plan::{Plan, plan};
use crate::snapshot::{Counts, Snapshot};

pub(crate) use access::Access;
use contest::another_writer;
pub(crate) use stored::StoredProxy;
pub(crate) use watch::watch_all;
pub(crate) use write::Writer;

/// Whose the fields are that the operator writes.
const FIELD_MANAGER: &str = "sluice-operator";

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Policy,
    Node,
    Proxy,
    Revision,
    Service,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Policy,
        Self::Node,
        Self::Proxy,
        Self::Revision,
        Self::Service,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "ServiceProxyPolicy",
            Self::Node => "Node",
            Self::Proxy => "NodeServiceProxy",
            Self::Revision => "ControllerRevision",
            Self::Service => "Service",
        }
    }
}

#[derive(Debug, Default)]
struct Held {
    snapshot: Snapshot,
    /// Hashes of the names of those that are proxied.
    services: HashSet<u64>,
    listed: BTreeSet<Kind>,
    /// Kinds of which nothing is heard: what is held of them may be old.
    unheard: BTreeSet<Kind>,
    /// Since when that is so of any.
    unheard_since: Option<Timestamp>,
    /// Versions of objects of nodes. What a watch tells of an earlier one came later only.
    versions: HashMap<Arc<str>, u64>,
    /// Who else wrote last what is the operator's to write, where somebody did.
    other_writers: HashMap<(Kind, Arc<str>), String>,
}

impl Held {
    /// The API server cannot be asked for a kind any more.
    fn lost(&mut self, kind: Kind, now: Timestamp) {
        self.unheard.insert(kind);
        self.unheard_since.get_or_insert(now);
    }

    /// A kind was listed.
    fn listed(&mut self, kind: Kind, now: Timestamp) {
        self.listed.insert(kind);
        self.unheard.remove(&kind);
        if self.unheard.is_empty()
            && let Some(since) = self.unheard_since.take()
        {
            self.snapshot.was_unheard(since, now);
        }
    }

    /// Takes the object of a node, unless a later state of it is known. A list is believed in any case: versions begin anew with a new etcd.
    fn take_proxy(&mut self, object: StoredProxy, is_listed: bool) {
        let Some(name) = object.meta().name.as_deref().map(Arc::<str>::from) else {
            return;
        };
        let version = object.meta().resource_version.as_ref();
        let version = version.and_then(|version| version.parse().ok());
        let version: u64 = version.unwrap_or_default();
        let known = self.versions.get(&name).copied().unwrap_or_default();
        if !is_listed && version < known {
            return;
        }
        self.versions.insert(Arc::clone(&name), version);
        self.note_writer(Kind::Proxy, &name, object.meta());
        self.snapshot
            .set_proxy(&name, object.read(), Timestamp::now());
    }

    fn note_writer(&mut self, kind: Kind, name: &Arc<str>, metadata: &ObjectMeta) {
        let part = if kind == Kind::Policy {
            "f:status"
        } else {
            "f:spec"
        };
        let key = (kind, Arc::clone(name));
        match another_writer(metadata, part, FIELD_MANAGER) {
            Some(writer) => self.other_writers.insert(key, writer),
            None => self.other_writers.remove(&key),
        };
    }

    fn forget_proxy(&mut self, name: &str) {
        self.other_writers.remove(&(Kind::Proxy, Arc::from(name)));
        self.versions.remove(name);
        self.snapshot.proxies.remove(name);
    }
}

/// What the API server holds.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    held: Mutex<Held>,
    changed: Notify,
}

impl Cluster {
    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits until something has changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Kinds that were not listed yet.
    pub(crate) fn missing(&self) -> Vec<Kind> {
        let held = self.lock();
        let is_missing = |kind: &Kind| !held.listed.contains(kind);
        Kind::ALL.into_iter().filter(is_missing).collect()
    }

    /// Everything was listed, and nothing that is held is old for want of an API server.
    pub(crate) fn is_known(&self) -> bool {
        self.missing().is_empty() && self.lock().unheard.is_empty()
    }

    /// What is to be written now.
    pub(crate) fn plan(&self, remove_taint: bool) -> Plan {
        plan(&self.lock().snapshot, remove_taint, Timestamp::now())
    }

    /// Who else writes what is the operator's to write.
    fn other_writer(&self, kind: Kind, name: &Arc<str>) -> Option<String> {
        let key = (kind, Arc::clone(name));
        self.lock().other_writers.get(&key).cloned()
    }

    /// Looks at the policies.
    pub(crate) fn with_policies(&self, look: impl FnOnce(&BTreeMap<Arc<str>, Policy>)) {
        look(&self.lock().snapshot.policies);
    }

    /// How many there are of what.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().snapshot.counts()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn nothing_is_planned_for_what_may_be_old_and_that_time_counts_once_all_is_listed_again() {
        let cluster = Cluster::default();
        for kind in Kind::ALL {
            assert!(!cluster.is_known());
            cluster.change(|held| held.listed(kind, at(0)));
        }
        let node = crate::objects::Node {
            name: Arc::from("n1"),
            uid: String::new(),
            labels: BTreeMap::new(),
            is_reachable: false,
            so_since: Some(at(5)),
            not_ready_taint: None,
        };
        cluster.change(|held| drop(held.snapshot.nodes.insert(Arc::from("n1"), node)));
        let since = || cluster.lock().snapshot.nodes["n1"].so_since;
        for (kind, second) in [(Kind::Proxy, 10), (Kind::Node, 15), (Kind::Proxy, 20)] {
            cluster.change(|held| held.lost(kind, at(second)));
        }
        cluster.change(|held| held.listed(Kind::Node, at(400)));
        assert!(!cluster.is_known() && since() == Some(at(5)));
        cluster.change(|held| held.listed(Kind::Proxy, at(410)));
        assert!(cluster.is_known() && since() == Some(at(405)));
    }
}
