//! Sluice on a control plane, as its chart puts it there with `operator.removeNodeTaint`: definitions, roles, service accounts, and for each
//! node a Node and the pod of an agent. Agents and operators run as processes of the test, with the tokens that the kubelet would give to their pods.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, ControlPlaneError, Kubectl};

/// Where its pods are.
pub const NAMESPACE: &str = "sluice-system";
const AGENT: &str = "sluice-agent";
const OPERATOR: &str = "sluice-operator";

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice/files/crds");
const AGENT_ROLE: &str = include_str!("../../charts/sluice/files/agent-role.yaml");
const OPERATOR_ROLES: &str = include_str!("../../charts/sluice/files/operator-role.yaml");
const TAINT_ROLE: &str = include_str!("../../charts/sluice/files/operator-taint-role.yaml");
const ADMISSION: &str = include_str!("../../charts/sluice/files/agent-admission.yaml");

/// See the module.
#[derive(Debug)]
pub struct Installation {
    /// Where it is installed.
    pub control_plane: ControlPlane,
    kubectl: Kubectl,
}

impl Installation {
    /// Installs all of it and waits until the API server serves the definitions.
    pub fn new(control_plane: ControlPlane) -> Result<Self, ControlPlaneError> {
        let installation = Self::without_definitions(control_plane)?;
        installation.define()?;
        Ok(installation)
    }

    /// Installs all but the definitions.
    pub fn without_definitions(control_plane: ControlPlane) -> Result<Self, ControlPlaneError> {
        let installation = Self {
            kubectl: control_plane.kubectl()?,
            control_plane,
        };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        });
        installation.apply(&[namespace])?;
        for text in [AGENT_ROLE, OPERATOR_ROLES, TAINT_ROLE, ADMISSION] {
            // Those of a namespace do not say which: a chart's go where it is installed.
            let apply = [
                "apply",
                "--server-side",
                "--namespace",
                NAMESPACE,
                "-f",
                "-",
            ];
            installation.kubectl.run_with_input(&apply, text)?;
        }
        let accounts = [AGENT, OPERATOR].into_iter().flat_map(|name| {
            [
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}),
                binding("ClusterRole", name, name),
            ]
        });
        let more = [
            binding("Role", OPERATOR, OPERATOR),
            binding("ClusterRole", "sluice-operator-taint", OPERATOR),
        ];
        let objects: Vec<Value> = accounts.chain(more).collect();
        installation.apply(&objects)?;
        Ok(installation)
    }

    /// Installs the definitions, and waits until they can be used.
    pub fn define(&self) -> Result<(), ControlPlaneError> {
        self.kubectl.run(&["apply", "-f", DEFINITIONS])?;
        self.kubectl.run_patiently(&["get", "spp,nsp"]).map(drop)
    }

    /// Adds a Node with these labels, and the pod of its agent.
    pub fn add_node(&self, name: &str, labels: &[(&str, &str)]) -> Result<(), ControlPlaneError> {
        let labels: serde_json::Map<String, Value> = labels
            .iter()
            .map(|&(key, value)| (key.to_owned(), json!(value)))
            .collect();
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.apply(&[node, pod(AGENT, name)])
    }

    /// A kubeconfig with the token that the agent's pod on the node has.
    pub fn agent_kubeconfig(&self, node: &str) -> Result<PathBuf, ControlPlaneError> {
        let pod = pod_name(AGENT, node);
        let token = self.kubectl.run(&[
            "create",
            "token",
            AGENT,
            "--namespace",
            NAMESPACE,
            "--bound-object-kind=Pod",
            "--bound-object-name",
            &pod,
        ])?;
        self.control_plane.kubeconfig_with_token(&pod, token.trim())
    }

    /// A kubeconfig with an operator's token.
    pub fn operator_kubeconfig(&self) -> Result<PathBuf, ControlPlaneError> {
        let token = self
            .kubectl
            .run(&["create", "token", OPERATOR, "--namespace", NAMESPACE])?;
        self.control_plane
            .kubeconfig_with_token(OPERATOR, token.trim())
    }

    /// `kubectl` with the administrator's rights.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Applies objects with the administrator's rights.
    pub fn apply(&self, objects: &[Value]) -> Result<(), ControlPlaneError> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let apply = ["apply", "--server-side", "-f", "-"];
        self.kubectl.run_with_input(&apply, &list).map(drop)
    }
}

fn pod_name(account: &str, node: &str) -> String {
    format!("{account}-{node}")
}

fn pod(account: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod_name(account, node), "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": account,
            "nodeName": node,
            "hostNetwork": true,
            "containers": [{"name": account, "image": "sluice"}],
        },
    })
}

/// Gives the role to the service account.
fn binding(role: &str, name: &str, account: &str) -> Value {
    let mut metadata = json!({"name": name});
    if role == "Role" {
        metadata["namespace"] = json!(NAMESPACE);
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{role}Binding"),
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    })
}
