//! Objects of nodes.

use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::v1alpha1::{NodeServiceProxy, NodeServiceProxySpec};

use super::read_status;
use crate::objects::{Proxy, Told};

/// See the module.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = NodeServiceProxy)]
pub(crate) struct StoredProxy {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl StoredProxy {
    /// The object; it was told nothing where its spec cannot be read.
    pub(crate) fn read(self) -> Proxy {
        let told = NodeServiceProxySpec::deserialize(&self.spec).ok();
        let told = told.as_ref().map(Told::of);
        Proxy::of(self.metadata, told, &read_status(self.status))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_crds::v1alpha1::ActiveMode;

    use super::*;
    use crate::objects::Answer;

    fn read(spec: &Value, status: &Value) -> Proxy {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "uid-a"});
        let metadata = json!({"name": "a", "generation": 2, "ownerReferences": [owner]});
        let stored = json!({"metadata": metadata, "spec": spec, "status": status});
        let stored: StoredProxy = serde_json::from_value(stored).unwrap();
        let proxy = stored.read();
        assert_eq!(proxy.owner.as_deref(), Some("uid-a"));
        proxy
    }

    fn spec() -> Value {
        json!({"policy": "p", "policyGeneration": 1, "revision": "p-1", "mode": "IPVS", "settings": {}})
    }

    fn status() -> Value {
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": "True", "reason": "R", "message": "", "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        json!({
            "observedRevision": "p-1", "activeMode": "IPVS", "capabilities": {"kernel": "6.1.0", "ipvs": true},
            "conditions": [condition("Supported"), condition("Programmed"), condition("Healthy")],
        })
    }

    #[test]
    fn a_field_of_the_status_that_is_not_known_here_costs_no_other() {
        let mut status = status();
        status["servicePorts"] = json!("many");
        status["strange"] = json!({});
        let proxy = read(&spec(), &status);
        assert_eq!(proxy.answer, Answer::Ready);
        assert_eq!(proxy.told.unwrap().mode, ActiveMode::IPVS);
        assert_eq!(proxy.can_run_ipvs, Some(true));
        status["activeMode"] = json!("Strange");
        let proxy = read(&spec(), &status);
        assert_eq!(proxy.active_mode, None);
        assert_eq!(proxy.answer, Answer::NotReady);
    }

    #[test]
    fn a_node_serves_though_what_it_was_told_is_not_known_here() {
        let mut spec = spec();
        spec["mode"] = json!("Strange");
        let proxy = read(&spec, &status());
        assert_eq!(proxy.told, None);
        assert_eq!(proxy.answer, Answer::Ready);
        assert!(proxy.was_told_before && !proxy.is_silent());
    }
}
