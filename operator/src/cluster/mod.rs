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
    /// Versions of objects of nodes. What a watch tells of an earlier one came later only.
    versions: HashMap<Arc<str>, u64>,
    /// Who else wrote last what is the operator's to write, where somebody did.
    other_writers: HashMap<(Kind, Arc<str>), String>,
}

impl Held {
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
