//! A control plane with Sluice's definitions and roles, agents of the test, and operators.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::control_plane::{ControlPlane, ControlPlaneError, Kubectl, Options};
use sluice_e2e::installation::{Installation, NAMESPACE};
use sluice_e2e::operator_process::OperatorProcess;

use crate::agents::Agents;

pub(crate) const OPERATOR: &str = env!("CARGO_BIN_EXE_operator-under-test");
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Cluster {
    pub(crate) agents: Agents,
    pub(crate) installation: Installation,
}

impl Cluster {
    /// `None`, and reported, where there are no programs and no Go to build them.
    pub(crate) fn up(test: &str) -> Option<Self> {
        Self::with(test, Installation::new)
    }

    pub(crate) fn with(
        test: &str,
        install: impl FnOnce(ControlPlane) -> Result<Installation, ControlPlaneError>,
    ) -> Option<Self> {
        let control_plane = ControlPlane::start_or_skip(test, &Options::default()).unwrap()?;
        let installation = install(control_plane).unwrap();
        let api = installation.control_plane.api().unwrap();
        let kubectl = installation.kubectl().clone();
        Some(Self {
            agents: Agents::start(api, kubectl),
            installation,
        })
    }

    /// One that runs.
    pub(crate) fn operator(&self, flags: &[&str]) -> OperatorProcess {
        let kubeconfig = self.installation.operator_kubeconfig().unwrap();
        let mut operator =
            OperatorProcess::new(Path::new(OPERATOR), &kubeconfig, NAMESPACE).unwrap();
        operator.add_flags(flags);
        operator.start().unwrap();
        operator
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.installation.kubectl()
    }

    /// So many Nodes `PREFIX-N` with the label `pool`.
    pub(crate) fn add_nodes(&self, prefix: &str, pool: &str, count: usize) {
        let nodes: Vec<Value> = (1..=count)
            .map(|n| {
                json!({
                    "apiVersion": "v1", "kind": "Node",
                    "metadata": {"name": format!("{prefix}-{n}"), "labels": {"pool": pool}},
                })
            })
            .collect();
        self.installation.apply(&nodes).unwrap();
    }

    pub(crate) fn policy(&self, name: &str, spec: &Value) {
        let policy = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy",
            "metadata": {"name": name}, "spec": spec,
        });
        let apply = ["apply", "-f", "-"];
        let applied = self.kubectl().run_with_input(&apply, &policy.to_string());
        applied.unwrap();
    }

    pub(crate) fn wait_for(&self, object: &str, condition: &str) {
        let condition = format!("--for=condition={condition}");
        let waited = self
            .kubectl()
            .run(&["wait", &condition, object, "--timeout=90s"]);
        if let Err(error) = waited {
            let told = self.kubectl().run(&["get", "spp,nsp", "-o", "yaml"]);
            panic!("{error}: {}", told.unwrap_or_default());
        }
    }

    /// Until a policy counts so many ready nodes, and is ready itself.
    pub(crate) fn wait_until_ready(&self, policy: &str, nodes: usize) {
        let nodes = nodes.to_string();
        self.eventually("every node is ready", || {
            self.field(policy, ".status.readyNodes") == nodes
                && self.condition(policy, "Ready", "status") == "True"
        });
    }

    /// A field by its JSON path, empty where it is absent.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        let path = format!("-o=jsonpath={{{path}}}");
        let get = ["get", object, &path, "--ignore-not-found"];
        self.kubectl().run_patiently(&get).unwrap()
    }

    pub(crate) fn condition(&self, object: &str, kind: &str, field: &str) -> String {
        self.field(
            object,
            &format!(".status.conditions[?(@.type==\"{kind}\")].{field}"),
        )
    }

    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn() -> bool) {
        self.within(PATIENCE, what, is_so);
    }

    pub(crate) fn within(&self, patience: Duration, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            if begun.elapsed() > patience {
                let told = self.kubectl().run(&["get", "spp,nsp", "-o", "yaml"]);
                panic!("not yet: {what}: {}", told.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Names and versions of all policies and nodes' objects.
    pub(crate) fn versions(&self) -> String {
        let columns = "custom-columns=:.metadata.name,:.metadata.resourceVersion";
        self.kubectl()
            .run(&["get", "spp,nsp", "-o", columns])
            .unwrap()
    }
}

/// Quick steps of one node.
pub(crate) fn spec(pool: &str, mode: &str, drain: u32) -> Value {
    json!({
        "nodeSelector": {"matchLabels": {"pool": pool}},
        "mode": mode,
        "modeSwitch": {"drainTimeoutSeconds": drain},
        "rollout": {"maxUnavailable": 1, "minReadySeconds": 0, "progressDeadlineSeconds": 30},
    })
}
