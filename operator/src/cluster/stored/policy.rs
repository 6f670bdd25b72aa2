//! Policies.

use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::v1alpha1::{ServiceProxyPolicy, ServiceProxyPolicySpec};

use super::{read_alone, read_status};
use crate::objects::Policy;

/// See the module.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = ServiceProxyPolicy)]
pub(in crate::cluster) struct StoredPolicy {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl StoredPolicy {
    /// The policy; `None` for one without a name.
    pub(in crate::cluster) fn read(self) -> Option<Policy> {
        let spec = read_spec(&self.spec);
        Policy::of(self.metadata, spec, read_status(self.status))
    }
}

fn read_spec(stored: &Value) -> Result<ServiceProxyPolicySpec, String> {
    ServiceProxyPolicySpec::deserialize(stored).map_err(|error| {
        let mut fields = stored.as_object().into_iter().flatten();
        let why = fields.find_map(|(name, value)| {
            let why = read_alone::<ServiceProxyPolicySpec>(name, value).err()?;
            Some(format!("spec.{name}: {why}"))
        });
        let why = why.unwrap_or_else(|| format!("spec: {error}"));
        format!("it cannot be read ({why}): change that, or upgrade the operator to a version that knows it")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_crds::v1alpha1::{Mode, ServiceProxyPolicyStatus};

    use super::*;

    fn policy(spec: &Value, status: &Value) -> Policy {
        let metadata =
            json!({"name": "edge", "uid": "uid-1", "resourceVersion": "7", "generation": 3});
        let stored = json!({"metadata": metadata, "spec": spec, "status": status});
        let stored: StoredPolicy = serde_json::from_value(stored).unwrap();
        stored.read().unwrap()
    }

    fn status() -> Value {
        json!({"matchedNodes": 2, "currentRevision": "edge-1", "rejectedRevision": "edge-2"})
    }

    #[test]
    fn what_is_known_here_is_read() {
        let policy = policy(&json!({"mode": "IPVS"}), &status());
        assert_eq!(policy.spec.unwrap().mode, Mode::IPVS);
        assert_eq!(policy.status.matched_nodes, Some(2));
        assert_eq!(policy.version.as_deref(), Some("7"));
        assert_eq!(policy.generation, 3);
    }

    #[test]
    fn a_spec_that_is_not_known_here_is_told_with_the_field_and_leaves_the_status_as_it_is() {
        for (spec, field) in [
            (json!({"priority": 1, "mode": "Strange"}), "spec.mode"),
            (json!({"strange": {}, "mode": "IPVS"}), "spec.strange"),
            (json!("strange"), "spec"),
        ] {
            let policy = policy(&spec, &status());
            let problem = policy.spec.unwrap_err();
            let begin = format!("it cannot be read ({field}: ");
            assert!(problem.starts_with(&begin), "{problem}");
            assert!(problem.contains("trange"), "{problem}");
            assert!(problem.ends_with("upgrade the operator to a version that knows it"));
            assert_eq!(policy.status.current_revision.as_deref(), Some("edge-1"));
            assert_eq!(policy.status.rejected_revision.as_deref(), Some("edge-2"));
        }
    }

    #[test]
    fn a_field_of_the_status_that_is_not_known_here_costs_no_other() {
        let mut status = status();
        status["modes"] = json!([{"mode": "Strange", "nodes": 2}]);
        let policy = policy(&json!({}), &status);
        assert!(policy.spec.is_ok());
        assert!(policy.status.modes.is_empty());
        assert_eq!(policy.status.matched_nodes, Some(2));
        assert_eq!(policy.status.rejected_revision.as_deref(), Some("edge-2"));
    }

    #[test]
    fn a_policy_that_nobody_has_told_of_has_no_status() {
        let policy = policy(&json!({}), &Value::Null);
        assert_eq!(policy.status, ServiceProxyPolicyStatus::default());
    }
}
