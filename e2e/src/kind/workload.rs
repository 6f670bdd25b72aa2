//! Pods and Services for scenarios, as objects of the API.

use serde_json::{Value, json};

use super::cluster::{Cluster, time_limit};
use super::error::KindError;
use crate::lab::pace::pace;

/// The image of the pods.
pub const IMAGE: &str = "sluice-kind/pod:1";
/// The port that pods serve on, TCP, UDP and SCTP.
pub const PORT: u16 = 8080;
/// The port of the Services.
pub const SERVICE_PORT: u16 = 80;

/// A pod that serves under its name and can be a [`Client`](super::Client).
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    /// Its name.
    pub name: &'a str,
    /// The pool of its node.
    pub pool: &'a str,
    /// The value of its label `app`.
    pub app: &'a str,
    /// In the node's network.
    pub host_network: bool,
}

impl Pod<'_> {
    /// As an object.
    pub fn object(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": namespace, "labels": {"app": self.app}},
            "spec": {
                "nodeSelector": {"pool": self.pool},
                "hostNetwork": self.host_network,
                "tolerations": [{"operator": "Exists"}],
                // It is process 1, which no signal but the last one ends.
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "pod",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "args": ["serve"],
                    // Without, others come first where the machine is busy.
                    "resources": {"requests": {"cpu": "100m"}},
                    "env": [
                        {"name": "POD_NAME", "value": self.name},
                        {"name": "SLUICE_PACE", "value": pace().to_string()},
                    ],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                }],
            },
        })
    }
}

/// A Service of both families and both protocols, as an object; `spec` is laid over its own.
pub fn service(namespace: &str, name: &str, app: &str, spec: &Value) -> Value {
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT});
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": app},
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [port("tcp", "TCP"), port("udp", "UDP")],
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

impl Cluster {
    /// Makes a namespace with these pods in it, and waits until all are ready.
    pub fn start_pods(&self, namespace: &str, pods: &[Pod<'_>]) -> Result<(), KindError> {
        let mut objects =
            vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
        // Pods are refused before it is there.
        objects.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
        }));
        objects.extend(pods.iter().map(|pod| pod.object(namespace)));
        self.apply(&objects)?;
        let wait = [
            "wait",
            "--namespace",
            namespace,
            "--for=condition=Ready",
            "pods",
            "--all",
            &time_limit(60),
        ];
        self.kubectl(&wait).map(drop)
    }
}
