//! Revisions as `ControllerRevision`s keep them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::revision::{Content, Revision};

/// Tells those of the operator from others in its namespace.
pub(super) const SELECTOR: &str = "app.kubernetes.io/managed-by=sluice-operator";
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "sluice-operator");

/// What is in the object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    policy: String,
    content: Content,
}

/// The revision of an object; absent where it is another's, or cannot be read.
pub(super) fn read(object: &ControllerRevision) -> Option<Revision> {
    let data = object.data.as_ref()?;
    let Kept { policy, content } = serde_json::from_value(data.0.clone()).ok()?;
    Some(Revision {
        name: Arc::from(object.metadata.name.as_deref()?),
        policy: Arc::from(policy),
        generation: object.revision,
        content,
    })
}

/// The object of a revision.
pub(super) fn object(revision: &Revision) -> Result<ControllerRevision, serde_json::Error> {
    let kept = Kept {
        policy: revision.policy.to_string(),
        content: revision.content.clone(),
    };
    Ok(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(revision.name.to_string()),
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(serde_json::to_value(kept)?)),
        revision: revision.generation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

    #[test]
    fn a_kept_revision_is_read_as_it_was() {
        let mut spec = ServiceProxyPolicySpec::default();
        spec.source_nat.mark_bit = 15;
        let revision = Revision::new(&Arc::from("edge"), 4, Content::of(&spec));
        let kept = object(&revision).unwrap();
        assert_eq!(read(&kept), Some(revision));
    }

    #[test]
    fn one_that_cannot_be_read_counts_as_absent() {
        let mut kept = object(&Revision::new(
            &Arc::from("edge"),
            4,
            Content::of(&ServiceProxyPolicySpec::default()),
        ))
        .unwrap();
        kept.data = Some(RawExtension(serde_json::json!({"policy": "edge"})));
        assert_eq!(read(&kept), None);
    }
}
