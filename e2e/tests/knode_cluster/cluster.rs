//! A cluster: control plane, operator, services, and policies.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::control_plane::{ControlPlane, Kubectl, Options};
use sluice_e2e::installation::{Installation, NAMESPACE};
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::Place;
use sluice_e2e::operator_process::OperatorProcess;

/// Time that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const OPERATOR: &str = env!("CARGO_BIN_EXE_operator-under-test");
/// A control plane takes as long to start as some twenty of its requests: emulated, minutes.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// See the module. Nodes are [apart](crate::nodes::Node), since each has a life of its own.
pub(crate) struct Cluster {
    pub(crate) operator: OperatorProcess,
    pub(crate) installation: Installation,
}

/// `None`, and reported, where there are no programs and no Go to build them.
pub(crate) fn control_plane(test: &str) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(test, &Options::default()).unwrap()
}

impl Cluster {
    /// With two services and an operator that runs.
    pub(crate) fn up(test: &str) -> Option<Self> {
        let installation = Installation::new(control_plane(test)?).unwrap();
        let kubeconfig = installation.operator_kubeconfig().unwrap();
        let mut operator =
            OperatorProcess::new(Path::new(OPERATOR), &kubeconfig, NAMESPACE).unwrap();
        operator.start().unwrap();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        installation.apply(&[namespace]).unwrap();
        Some(Self {
            operator,
            installation,
        })
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.installation.kubectl()
    }

    /// Service number `n`: TCP on 10.96.1.`n`:80 and on node port 30000 + `n`.
    pub(crate) fn serve(&self, n: u8, endpoints: &[Place]) {
        self.installation
            .apply(&[service(n), slice(n, endpoints)])
            .unwrap();
    }

    /// Makes or changes a policy.
    pub(crate) fn policy(&self, name: &str, spec: &Value) {
        let policy = json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "ServiceProxyPolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        self.installation.apply(&[policy]).unwrap();
    }

    /// Something of an object, by its path in it, such as `.status.activeMode`; empty while there is none.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        let output = format!("jsonpath={{{path}}}");
        let arguments = ["get", object, "--ignore-not-found", "-o", &output];
        // An API server that is away has nothing either.
        self.kubectl().run(&arguments).unwrap_or_default()
    }

    /// The status, reason or message of a condition.
    pub(crate) fn condition(&self, object: &str, kind: &str, part: &str) -> String {
        self.field(
            object,
            &format!(".status.conditions[?(@.type==\"{kind}\")].{part}"),
        )
    }

    /// As people wait for it, once there is the object.
    pub(crate) fn wait_for_condition(&self, object: &str, condition: &str) {
        self.eventually("there is the object", || {
            !self.field(object, ".metadata.name").is_empty()
        });
        let condition = format!("--for=condition={condition}");
        let timeout = format!("--timeout={}s", stretched(PATIENCE).as_secs());
        let answer = self
            .kubectl()
            .answer(&["wait", &condition, &timeout, object], "")
            .unwrap();
        assert!(
            answer.status.success(),
            "{}\n{}",
            answer.stderr,
            self.picture()
        );
    }

    /// Waits until a policy is `Ready` with so many nodes: it is so before it has taken any in, too.
    pub(crate) fn wait_until_ready(&self, policy: &str, nodes: usize) {
        let what = format!("{policy} has {nodes} nodes that are ready");
        let nodes = nodes.to_string();
        self.eventually(&what, || self.field(policy, ".status.readyNodes") == nodes);
        self.wait_for_condition(policy, "Ready");
    }

    /// Waits until something is so; tells how long it took.
    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn() -> bool) -> Duration {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < stretched(PATIENCE),
                "it never was so that {what}\n{}",
                self.picture()
            );
            sleep(LOOKS_EVERY);
        }
        start.elapsed()
    }

    /// What a person would look at.
    fn picture(&self) -> String {
        let all = ["get", "spp,nsp", "-o", "yaml"];
        let objects = self.kubectl().run(&all).unwrap_or_default();
        format!("{objects}\noperator:\n{}", self.operator.log())
    }
}

fn service(n: u8) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": format!("s{n}"), "namespace": "shop"},
        "spec": {
            "type": "NodePort",
            "clusterIP": format!("10.96.1.{n}"),
            "ports": [{"name": "http", "port": 80, "nodePort": 30_000 + u32::from(n), "protocol": "TCP"}],
        },
    })
}

fn slice(n: u8, endpoints: &[Place]) -> Value {
    let name = format!("s{n}");
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|pod| json!({"addresses": [pod.v4]}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-1"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}
