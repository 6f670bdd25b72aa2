//! Writes, each only while this replica leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _};
use sluice_api_access::with_causes;

use super::contest::{self, Contest};
use super::events::Events;
use super::failures::{Failures, Key, What};
use super::patience::{NoAnswer, Patience};
use super::stored::{StoredPolicy, StoredProxy};
use super::{Cluster, Kind, kept_revision, requests};
use crate::election::Leadership;
use crate::metrics::Metrics;
use crate::plan::{Gone, NodeWrite, Plan, StatusWrite};

/// Requests at a time.
const AT_ONCE: usize = 32;
/// Somebody is told of a contest when the same was written again so often,
const TOLD_AFTER: u32 = 2;
/// and whenever it was so often more.
const TOLD_EVERY: u32 = 10;

/// A write failed.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("this replica does not lead any more")]
    NotLeading,
    #[error("it has changed since it was looked at")]
    Changed,
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// See the module.
pub(crate) struct Writer {
    client: Client,
    namespace: String,
    events: Events,
    patience: Patience,
    leadership: Leadership,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    contest: Mutex<Contest>,
    failures: Mutex<Failures>,
}

impl Writer {
    pub(crate) fn new(
        client: Client,
        namespace: String,
        identity: &str,
        leadership: Leadership,
        cluster: Arc<Cluster>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            events: Events::new(client.clone(), identity),
            client,
            namespace,
            patience: Patience::default(),
            leadership,
            cluster,
            metrics,
            contest: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Writes a plan, in its order, but for what has its time: what could not be written, and what was undone since it was written last. Tells when the
    /// first of that may be written.
    pub(crate) async fn write(&self, mut plan: Plan) -> Option<Instant> {
        let resting = lock(&self.failures).hold_back(&mut plan, Instant::now());
        let contested = lock(&self.contest).hold_back(&mut plan, Instant::now());
        let went_well = self.write_policies(&plan).await;
        let failed = {
            let now = Instant::now();
            let mut failures = lock(&self.failures);
            failures.book(went_well, now);
            // A revision that is not kept could not be gone back to, and a failure that is not noted would be tried again.
            failures.hold_back(&mut plan, now)
        };
        let went_well = self.write_others(&plan).await;
        let others = lock(&self.failures).book(went_well, Instant::now());
        let times = [resting, contested, failed, others];
        times.into_iter().flatten().min()
    }

    /// Writes revisions and statuses; tells of each policy whether that went well.
    async fn write_policies(&self, plan: &Plan) -> BTreeMap<Key, bool> {
        let mut went_well = BTreeMap::new();
        let mut book = |policy: &Arc<str>, well: bool| {
            let key = (What::Policy, Arc::clone(policy));
            *went_well.entry(key).or_insert(true) &= well;
        };
        for revision in &plan.revisions {
            let kept = self.keep(revision).await;
            let well = self.told("ControllerRevision", &revision.name, kept);
            book(&revision.policy, well);
        }
        let statuses = stream::iter(&plan.statuses).map(|write| async move {
            let written = self.status(write).await;
            (write, self.told("status", &write.policy, written))
        });
        let mut statuses = statuses.buffer_unordered(AT_ONCE);
        while let Some((write, well)) = statuses.next().await {
            book(&write.policy, well);
        }
        went_well
    }

    /// Writes everything else; tells of each whether that went well.
    async fn write_others(&self, plan: &Plan) -> BTreeMap<Key, bool> {
        let nodes = stream::iter(&plan.nodes).map(|write| async move {
            let well = self.told("NodeServiceProxy", &write.node, self.node(write).await);
            ((What::Told, Arc::clone(&write.node)), well)
        });
        let gone = stream::iter(&plan.gone).map(|gone| async move {
            let deleted = self.delete_node(gone).await;
            let well = self.told("NodeServiceProxy", &gone.node, deleted);
            ((What::Gone, Arc::clone(&gone.node)), well)
        });
        let served = stream::iter(&plan.served).map(|(name, taint)| async move {
            let well = self.told("taint", name, self.remove_taint(name, *taint).await);
            ((What::Taint, Arc::clone(name)), well)
        });
        let old = stream::iter(&plan.old_revisions).map(|name| async move {
            let well = self.told("ControllerRevision", name, self.forget(name).await);
            ((What::OldRevision, Arc::clone(name)), well)
        });
        let mut went_well: BTreeMap<Key, bool> = nodes.buffer_unordered(AT_ONCE).collect().await;
        went_well.extend(gone.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        went_well.extend(served.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        went_well.extend(old.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        went_well
    }

    fn told(&self, kind: &'static str, name: &str, result: Result<(), WriteError>) -> bool {
        self.metrics.count_write(kind, result.is_ok());
        let error = match result {
            Ok(()) => {
                tracing::debug!(kind, name, "written");
                return true;
            }
            Err(error @ WriteError::Changed) => {
                tracing::debug!(kind, name, %error, "it is looked at again");
                return false;
            }
            Err(error) => error,
        };
        tracing::warn!(
            kind,
            name,
            error = with_causes(&error),
            "cannot be written; it is tried again"
        );
        false
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.leadership.is_ours() {
            Ok(())
        } else {
            Err(WriteError::NotLeading)
        }
    }

    async fn keep(&self, revision: &crate::revision::Revision) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace);
        let object = kept_revision::object(revision)?;
        let params = PostParams::default();
        match self.patience.wait(api.create(&params, &object)).await? {
            // Its name says what is in it.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
        self.cluster.change(|held| {
            let revisions = &mut held.snapshot.revisions;
            revisions.insert(Arc::clone(&revision.name), revision.clone());
        });
        Ok(())
    }

    async fn forget(&self, name: &str) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = DeleteParams::default();
        gone(self.patience.wait(api.delete(name, &params)).await?)?;
        self.cluster.change(|held| {
            held.snapshot.revisions.remove(name);
        });
        Ok(())
    }

    async fn status(&self, write: &StatusWrite) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<StoredPolicy> = Api::all(self.client.clone());
        let (params, object) = (requests::apply(), Patch::Apply(requests::status(write)));
        let other_writer = self.cluster.other_writer(Kind::Policy, &write.policy);
        let patch = api.patch_status(&write.policy, &params, &object);
        let written = match self.patience.wait(patch).await? {
            Err(kube::Error::Api(status)) if status.code == 409 => return Err(WriteError::Changed),
            written => written?,
        };
        self.cluster.change(|held| {
            held.note_writer(Kind::Policy, &write.policy, written.meta());
            // Its spec may have changed before the watch has told of it.
            let known = held.snapshot.policies.get_mut(&write.policy);
            if let (Some(known), Some(written)) = (known, written.read()) {
                known.status = written.status;
                known.version = written.version;
            }
        });
        for event in &write.events {
            tracing::info!(policy = %write.policy, reason = event.reason, "{}", event.note);
            let uid = Some(write.uid.clone());
            self.events
                .tell(Kind::Policy, &write.policy, uid, event)
                .await;
        }
        let uid = Some(write.uid.clone());
        let content = contest::of_status(write);
        self.wrote(Kind::Policy, &write.policy, uid, content, other_writer)
            .await;
        Ok(())
    }

    async fn node(&self, write: &NodeWrite) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<StoredProxy> = Api::all(self.client.clone());
        let (params, object) = (requests::apply(), Patch::Apply(requests::node(write)));
        let other_writer = self.cluster.other_writer(Kind::Proxy, &write.node);
        let patch = api.patch(&write.node, &params, &object);
        let written = self.patience.wait(patch).await??;
        let (node, mode, revision) = (&*write.node, write.spec.mode, &write.spec.revision);
        tracing::info!(node, %mode, revision, "the node is told what to run");
        let uid = written.meta().uid.clone();
        self.cluster.change(|held| held.take_proxy(written, false));
        let content = contest::of_node(write);
        self.wrote(Kind::Proxy, &write.node, uid, content, other_writer)
            .await;
        Ok(())
    }

    /// Only what was found to be an earlier node's, as it was then: an object of that name may have been made anew since.
    async fn delete_node(&self, gone_one: &Gone) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<StoredProxy> = Api::all(self.client.clone());
        let params = requests::gone(gone_one);
        let delete = api.delete(&gone_one.node, &params);
        match self.patience.wait(delete).await? {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::debug!(node = %gone_one.node, "its object has changed: it is looked at again");
                return Ok(());
            }
            deleted => gone(deleted)?,
        }
        self.cluster
            .change(|held| held.forget_proxy(&gone_one.node));
        Ok(())
    }

    /// Books a write; one of what somebody else undoes again and again is told, with who that is.
    async fn wrote(
        &self,
        kind: Kind,
        name: &Arc<str>,
        uid: Option<String>,
        content: u64,
        other_writer: Option<String>,
    ) {
        let again = lock(&self.contest).wrote(kind, name, content, Instant::now());
        if again == TOLD_AFTER || (again > 0 && again.is_multiple_of(TOLD_EVERY)) {
            let writer = other_writer.as_deref().unwrap_or("somebody");
            self.events.tell_contest(kind, name, uid, writer).await;
        }
    }

    /// Only this taint, and only if it is still where it was seen.
    async fn remove_taint(&self, name: &str, taint: usize) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<Node> = Api::all(self.client.clone());
        let patch: Patch<()> = Patch::Json(serde_json::from_value(requests::without_taint(taint))?);
        let params = PatchParams::default();
        let patch = api.patch(name, &params, &patch);
        self.patience.wait(patch).await??;
        tracing::info!(node = name, "the node is served: pods may come");
        self.cluster.change(|held| {
            if let Some(node) = held.snapshot.nodes.get_mut(name) {
                node.not_ready_taint = None;
            }
        });
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop),
    }
}

#[cfg(test)]
mod tests;
