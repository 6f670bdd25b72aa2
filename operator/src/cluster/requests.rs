//! What is sent. Pure. Each request names the very object that it was decided for: one of the same name may have taken its place since.

use kube::api::{DeleteParams, PatchParams, Preconditions};
use serde_json::{Value, json};
use sluice_crds::v1alpha1::{
    API_VERSION, MODE_BEFORE, MOVED_AT, NODE_SERVICE_PROXY, NOT_READY_TAINT, SERVICE_PROXY_POLICY,
};

use super::FIELD_MANAGER;
use crate::plan::{Gone, NodeWrite, StatusWrite};

/// How objects are applied.
pub(super) fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// A policy with its status. The API server refuses it (409) where the policy has changed since. It goes by the version only: a uid of another policy it
/// passes over in a status.
pub(super) fn status(write: &StatusWrite) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": SERVICE_PROXY_POLICY,
        "metadata": {"name": &*write.policy, "resourceVersion": write.version},
        "status": write.status,
    })
}

/// The object of a node. One whose owner is not there any more is collected by the API server's garbage collector.
pub(super) fn node(write: &NodeWrite) -> Value {
    let owner = json!({
        "apiVersion": "v1", "kind": "Node", "name": &*write.node, "uid": write.uid,
    });
    let mut metadata = json!({"name": &*write.node, "ownerReferences": [owner]});
    if let Some(at) = write.moved_at {
        metadata["annotations"][MOVED_AT] = json!(at.to_string());
    }
    if let Some(mode) = write.mode_before {
        metadata["annotations"][MODE_BEFORE] = json!(mode.to_string());
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": NODE_SERVICE_PROXY,
        "metadata": metadata,
        "spec": write.spec,
    })
}

/// Deletes what was found to be an earlier node's, as it was then.
pub(super) fn gone(gone: &Gone) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: gone.uid.clone(),
        resource_version: gone.version.clone(),
    })
}

/// Operations of a JSON patch that removes this taint of a Node, if it is still where it was seen.
pub(super) fn without_taint(position: usize) -> Value {
    let path = format!("/spec/taints/{position}");
    json!([
        {"op": "test", "path": format!("{path}/key"), "value": NOT_READY_TAINT},
        {"op": "remove", "path": path},
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_crds::v1alpha1::{
        ActiveMode, NodeServiceProxySpec, ResolvedSettings, ServiceProxyPolicyStatus,
    };

    use super::*;

    #[test]
    fn a_status_is_for_the_policy_that_was_looked_at() {
        let write = StatusWrite {
            policy: Arc::from("edge"),
            uid: "uid-1".to_owned(),
            version: Some("7".to_owned()),
            status: ServiceProxyPolicyStatus::default(),
            events: Vec::new(),
        };
        let sent = status(&write);
        let metadata = json!({"name": "edge", "resourceVersion": "7"});
        assert_eq!(sent["metadata"], metadata);
    }

    #[test]
    fn the_object_of_a_node_belongs_to_the_node_that_was_looked_at() {
        let mut write = NodeWrite {
            node: Arc::from("a"),
            uid: "uid-1".to_owned(),
            spec: NodeServiceProxySpec {
                policy: "edge".to_owned(),
                policy_generation: 1,
                revision: "edge-1".to_owned(),
                mode: ActiveMode::IPVS,
                settings: ResolvedSettings::default(),
            },
            moved_at: None,
            mode_before: None,
        };
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "uid-1"});
        let metadata = json!({"name": "a", "ownerReferences": [owner]});
        assert_eq!(node(&write)["metadata"], metadata);
        write.moved_at = Some("2026-11-01T00:00:00Z".parse().unwrap());
        let annotations = node(&write)["metadata"]["annotations"].clone();
        assert_eq!(annotations, json!({MOVED_AT: "2026-11-01T00:00:00Z"}));
        write.mode_before = Some(ActiveMode::IPTables);
        let annotations = node(&write)["metadata"]["annotations"].clone();
        assert_eq!(annotations[MODE_BEFORE], "IPTables");
    }

    #[test]
    fn only_the_object_that_was_looked_at_is_deleted() {
        let sent = gone(&Gone {
            node: Arc::from("a"),
            uid: Some("uid-1".to_owned()),
            version: Some("7".to_owned()),
        });
        let sent = sent.preconditions.unwrap();
        assert_eq!(sent.uid.as_deref(), Some("uid-1"));
        assert_eq!(sent.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_taint_goes_only_if_it_is_this_one() {
        let sent = without_taint(2);
        assert_eq!(
            sent[0],
            json!({"op": "test", "path": "/spec/taints/2/key", "value": NOT_READY_TAINT})
        );
        assert_eq!(sent[1], json!({"op": "remove", "path": "/spec/taints/2"}));
    }
}
