//! A control plane with Sluice's definitions and a few objects of a cluster.

use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sluice_e2e::control_plane::{ControlPlane, Options, User};
use sluice_e2e::installation::{Installation, NAMESPACE};
use sluice_e2e::kubectl_plugin::KubectlPlugin;

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-sluice-under-test");
const LONG_AGO: &str = "2026-11-01T00:00:00Z";

/// A user who may do nothing.
pub(crate) const NOBODY: &str = "nobody";

/// `None`, and reported, where there are no programs and no Go to build them.
pub(crate) fn control_plane(test: &str) -> Option<ControlPlane> {
    let options = Options {
        users: vec![User::new(NOBODY)],
        ..Options::default()
    };
    ControlPlane::start_or_skip(test, &options).unwrap()
}

pub(crate) fn plugin_with(kubeconfig: &Path) -> KubectlPlugin {
    KubectlPlugin::new(Path::new(PLUGIN), kubeconfig)
}

pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) plugin: KubectlPlugin,
}

impl World {
    /// With two nodes, of which nobody was told anything.
    pub(crate) fn up(test: &str) -> Option<Self> {
        let installation = Installation::new(control_plane(test)?).unwrap();
        installation.apply(&[node("a", 0), node("b", 1)]).unwrap();
        for (name, number) in [("a", 1), ("b", 2)] {
            let address = format!("192.0.2.{number}");
            let status =
                json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
            patch_status(&installation, &format!("node/{name}"), &status);
        }
        let plugin = plugin_with(&installation.control_plane.kubeconfig());
        Some(Self {
            installation,
            plugin,
        })
    }

    pub(crate) fn apply(&self, objects: &[Value]) {
        self.installation.apply(objects).unwrap();
    }

    /// Tells a node how to serve, and what its agent says of it.
    pub(crate) fn tell(&self, node: &str, observed: &str, programmed: (&str, &str)) {
        self.apply(&[json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": node},
            "spec": {
                "policy": "built-in", "policyGeneration": 1, "revision": "r-2", "mode": "IPTables",
                "settings": {"sourceNAT": {"detectLocal": {"mode": "NodeCIDR"}}},
            },
        })]);
        let generation = |kind: &str, status: &str, message: &str| {
            json!({
                "type": kind, "status": status, "reason": if status == "True" { kind } else { "SyncFailed" }, "message": message,
                "observedGeneration": 1, "lastTransitionTime": LONG_AGO,
            })
        };
        let status = json!({"status": {
            "observedRevision": observed, "activeMode": "IPTables",
            "conditions": [
                generation("Supported", "True", ""), generation("Programmed", programmed.0, programmed.1), generation("Healthy", "True", ""),
            ],
        }});
        patch_status(&self.installation, &format!("nsp/{node}"), &status);
    }

    /// The pod of an agent, as the chart labels it.
    pub(crate) fn agent_pod(&self, node: &str, phase: &str) {
        let name = format!("agent-{node}");
        self.apply(&[json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/name": "sluice", "app.kubernetes.io/component": "agent"},
            },
            "spec": {"serviceAccountName": "sluice-agent", "nodeName": node, "containers": [{"name": "agent", "image": "sluice"}]},
        })]);
        let ready = if phase == "Running" { "True" } else { "False" };
        let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": LONG_AGO}]}});
        patch_status(&self.installation, &format!("pod/{name}"), &status);
    }

    /// Where the API server looks for the kubelet of a node: a port of the loopback on which nobody listens.
    pub(crate) fn kubelet_on_loopback(&self, node: &str) {
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}},
        }});
        patch_status(&self.installation, &format!("node/{node}"), &status);
    }

    /// The kubeconfig of somebody who may look, and no more.
    pub(crate) fn looker(&self) -> PathBuf {
        let rules = json!([
            {"apiGroups": ["", "sluice.dev"], "resources": ["nodes", "pods", "nodeserviceproxies"], "verbs": ["get", "list"]},
        ]);
        let name = json!({"name": "looker"});
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        self.apply(&[
            json!({"apiVersion": version, "kind": "ClusterRole", "metadata": name, "rules": rules}),
            json!({
                "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": name,
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "looker"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": NOBODY}],
            }),
        ]);
        let control_plane = &self.installation.control_plane;
        let kubeconfig = control_plane.kubeconfig_of(NOBODY).unwrap();
        let kubectl = self.installation.kubectl().with_kubeconfig(&kubeconfig);
        let may_look = ["auth", "can-i", "list", "pods", "--all-namespaces"];
        kubectl.run_patiently(&may_look).unwrap();
        kubeconfig
    }

    /// The lease of an operator that has just renewed it.
    pub(crate) fn lease(&self) {
        let renewed = format!("{:.6}", Timestamp::now());
        self.apply(&[json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "sluice-operator", "namespace": NAMESPACE},
            "spec": {"holderIdentity": "operator-1", "leaseDurationSeconds": 15, "renewTime": renewed},
        })]);
    }
}

fn node(name: &str, number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")]},
    })
}

fn patch_status(installation: &Installation, object: &str, status: &Value) {
    let status = status.to_string();
    let patch = [
        "patch",
        object,
        "--namespace",
        NAMESPACE,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    installation.kubectl().run(&patch).unwrap();
}
