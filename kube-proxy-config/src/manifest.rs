//! The policy as people apply it.

use serde_json::{Value, json};
use sluice_crds::v1alpha1::{API_VERSION, SERVICE_PROXY_POLICY, ServiceProxyPolicySpec};

use crate::ConvertError;

/// Name of the policy; one for every node has no better one.
const NAME: &str = "from-kube-proxy";

/// The policy with what differs from its defaults.
pub fn manifest(policy: &ServiceProxyPolicySpec) -> Result<String, ConvertError> {
    let failed = ConvertError::Unwritable;
    let value = |spec| serde_json::to_value(spec).map_err(|error| failed(error.to_string()));
    let spec = differing(value(policy)?, &value(&ServiceProxyPolicySpec::default())?);
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": SERVICE_PROXY_POLICY,
        "metadata": {"name": NAME},
        "spec": spec.unwrap_or_else(|| json!({})),
    });
    serde_saphyr::to_string(&object).map_err(|error| failed(error.to_string()))
}

fn differing(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(members), Value::Object(defaults)) => {
            let kept = members.into_iter().filter_map(|(name, value)| {
                let default = defaults.get(&name).unwrap_or(&Value::Null);
                Some((name, differing(value, default)?))
            });
            Some(Value::Object(kept.collect()))
        }
        (value, _) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;

    #[test]
    fn a_manifest_has_what_differs_and_is_read_as_the_same_policy() {
        let text = "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: ipvs, clusterCIDR: 10.244.0.0/16}";
        let policy = convert(text).unwrap().policy;
        let manifest = manifest(&policy).unwrap();
        let read: Value = serde_saphyr::from_str(&manifest).unwrap();
        assert_eq!(read["spec"]["mode"], "IPVS");
        assert_eq!(read["spec"].get("rollout"), None, "{manifest}");
        let read: ServiceProxyPolicySpec = serde_json::from_value(read["spec"].clone()).unwrap();
        assert_eq!(read, policy);
    }
}
