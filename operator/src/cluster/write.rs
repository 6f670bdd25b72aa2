//! Writes, each only while this replica leads.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::json;
use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::{
    API_VERSION, NODE_SERVICE_PROXY, NodeServiceProxy, SERVICE_PROXY_POLICY, ServiceProxyPolicy,
};

use super::{Cluster, kept_revision};
use crate::election::Leadership;
use crate::metrics::Metrics;
use crate::objects::{MOVED_AT, NOT_READY_TAINT, Policy};
use crate::plan::{NodeWrite, Plan, StatusWrite};

const FIELD_MANAGER: &str = "sluice-operator";
/// Requests at a time.
const AT_ONCE: usize = 32;
/// An API server takes notes of at most so many bytes.
const LONGEST_NOTE: usize = 1024;

/// A write failed.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("this replica does not lead any more")]
    NotLeading,
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// See the module.
pub(crate) struct Writer {
    client: Client,
    namespace: String,
    recorder: Recorder,
    leadership: Leadership,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
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
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            namespace,
            leadership,
            cluster,
            metrics,
        }
    }

    /// Writes a plan, in its order. Returns whether all went well; what did not is in the next plan again.
    pub(crate) async fn write(&self, plan: Plan) -> bool {
        let mut all_well = true;
        for revision in &plan.revisions {
            all_well &= self.told(
                "ControllerRevision",
                &revision.name,
                self.keep(revision).await,
            );
        }
        for write in &plan.statuses {
            all_well &= self.told("status", &write.policy, self.status(write).await);
        }
        // A revision that is not kept could not be gone back to, and a failure that is not noted would be tried again.
        if !all_well {
            return false;
        }
        let nodes = stream::iter(&plan.nodes).map(|write| async move {
            self.told("NodeServiceProxy", &write.node, self.node(write).await)
        });
        let gone = stream::iter(&plan.gone).map(|name| async move {
            self.told("NodeServiceProxy", name, self.delete_node(name).await)
        });
        let served = stream::iter(&plan.served).map(|(name, taint)| async move {
            self.told("taint", name, self.remove_taint(name, *taint).await)
        });
        let old = stream::iter(&plan.old_revisions).map(|name| async move {
            self.told("ControllerRevision", name, self.forget(name).await)
        });
        let all = |well: bool, this: bool| async move { well & this };
        let nodes = nodes.buffer_unordered(AT_ONCE).fold(true, all).await;
        let gone = gone.buffer_unordered(AT_ONCE).fold(true, all).await;
        let served = served.buffer_unordered(AT_ONCE).fold(true, all).await;
        let old = old.buffer_unordered(AT_ONCE).fold(true, all).await;
        nodes & gone & served & old
    }

    fn told(&self, kind: &'static str, name: &str, result: Result<(), WriteError>) -> bool {
        self.metrics.count_write(kind, result.is_ok());
        let Err(error) = result else {
            tracing::debug!(kind, name, "written");
            return true;
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
        match api.create(&PostParams::default(), &object).await {
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
        gone(api.delete(name, &DeleteParams::default()).await)?;
        self.cluster.change(|held| {
            held.snapshot.revisions.remove(name);
        });
        Ok(())
    }

    async fn status(&self, write: &StatusWrite) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<ServiceProxyPolicy> = Api::all(self.client.clone());
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": SERVICE_PROXY_POLICY,
            "metadata": {"name": &*write.policy, "uid": write.uid},
            "status": write.status,
        });
        let written = api
            .patch_status(&write.policy, &apply(), &Patch::Apply(object))
            .await?;
        self.cluster.change(|held| {
            // Its spec may have changed meanwhile: the watch tells.
            let status = Policy::of(written).map(|policy| policy.status);
            if let (Some(known), Some(status)) =
                (held.snapshot.policies.get_mut(&write.policy), status)
            {
                known.status = status;
            }
        });
        for event in &write.events {
            self.tell(write, event).await;
        }
        Ok(())
    }

    /// An event that cannot be told is told nowhere else: conditions say the same.
    async fn tell(&self, write: &StatusWrite, event: &crate::status::Event) {
        tracing::info!(policy = %write.policy, reason = event.reason, "{}", event.note);
        let about = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(SERVICE_PROXY_POLICY.to_owned()),
            name: Some(write.policy.to_string()),
            uid: Some(write.uid.clone()),
            ..ObjectReference::default()
        };
        let mut note = event.note.clone();
        while note.len() > LONGEST_NOTE {
            note.pop();
        }
        let published = Event {
            type_: if event.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason.to_owned(),
            note: Some(note),
            action: "Rollout".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&published, &about).await {
            tracing::warn!(policy = %write.policy, error = with_causes(&error), "an event cannot be told");
        }
    }

    async fn node(&self, write: &NodeWrite) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<NodeServiceProxy> = Api::all(self.client.clone());
        let owner = json!({
            "apiVersion": "v1", "kind": "Node", "name": &*write.node, "uid": write.uid,
        });
        let mut metadata = json!({"name": &*write.node, "ownerReferences": [owner]});
        if let Some(at) = write.moved_at {
            metadata["annotations"] = json!({MOVED_AT: at.to_string()});
        }
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": NODE_SERVICE_PROXY,
            "metadata": metadata,
            "spec": write.spec,
        });
        let written = api
            .patch(&write.node, &apply(), &Patch::Apply(object))
            .await?;
        self.cluster.change(|held| held.take_proxy(written, false));
        Ok(())
    }

    async fn delete_node(&self, name: &str) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<NodeServiceProxy> = Api::all(self.client.clone());
        gone(api.delete(name, &DeleteParams::default()).await)?;
        self.cluster.change(|held| held.forget_proxy(name));
        Ok(())
    }

    /// Only this taint, and only if it is still where it was seen.
    async fn remove_taint(&self, name: &str, taint: usize) -> Result<(), WriteError> {
        self.check()?;
        let api: Api<Node> = Api::all(self.client.clone());
        let path = format!("/spec/taints/{taint}");
        let operations = json!([
            {"op": "test", "path": format!("{path}/key"), "value": NOT_READY_TAINT},
            {"op": "remove", "path": path},
        ]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations)?);
        api.patch(name, &PatchParams::default(), &patch).await?;
        tracing::info!(node = name, "the node is served: pods may come");
        self.cluster.change(|held| {
            if let Some(node) = held.snapshot.nodes.get_mut(name) {
                node.not_ready_taint = None;
            }
        });
        Ok(())
    }
}

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn gone<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop),
    }
}
