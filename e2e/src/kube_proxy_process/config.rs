//! kube-proxy's configuration, as its file has it: some of it has no flag.

use std::path::Path;

use serde_json::{Value, json};

use super::{HEALTHZ, KubeProxyMode, METRICS};

/// What a lab's node needs. It leaves the machine's own sysctls alone.
pub(super) fn of_a_lab(mode: KubeProxyMode, node_name: &str, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode.name(),
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": node_name,
        "clusterCIDR": "10.244.0.0/16,fd00:10:244::/48",
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "iptables": {"minSyncPeriod": "100ms", "localhostNodePorts": false},
        "healthzBindAddress": format!("127.0.0.1:{HEALTHZ}"),
        "metricsBindAddress": format!("127.0.0.1:{METRICS}"),
    })
}

/// Puts the fields of one object over those of another, at every depth.
pub(super) fn put_over(config: &mut Value, changes: &Value) {
    match (config, changes) {
        (Value::Object(config), Value::Object(changes)) => {
            for (name, value) in changes {
                put_over(config.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (config, changes) => *config = changes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_the_fields_beside_them() {
        let mut config =
            json!({"iptables": {"minSyncPeriod": "100ms"}, "clusterCIDR": "10.0.0.0/8"});
        put_over(
            &mut config,
            &json!({"iptables": {"masqueradeAll": true}, "clusterCIDR": "", "ipvs": {"scheduler": "rr"}}),
        );
        let expected = json!({
            "iptables": {"minSyncPeriod": "100ms", "masqueradeAll": true},
            "clusterCIDR": "",
            "ipvs": {"scheduler": "rr"},
        });
        assert_eq!(config, expected);
    }
}
