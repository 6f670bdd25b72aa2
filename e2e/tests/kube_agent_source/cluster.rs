//! An API server with objects to serve, and sources that read it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_agent::source::cluster::SettingsFile;
use sluice_agent::source::{AgentState, ClusterSource, Source, Update};
use sluice_api_access::Access;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_e2e::control_plane::{ControlPlane, Kubectl, Options, User};
use sluice_service_plan::model::ObjectName;

/// For what happens within a second or two where nothing else is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// As long as nothing must be told for it to count as nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);
pub(crate) const NODE: &str = "node-1";
/// Tells the policy of the flags from all others.
pub(crate) const OWN_MARK_BIT: u32 = 21;

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice/files/crds");

pub(crate) struct Cluster {
    pub(crate) control_plane: ControlPlane,
    pub(crate) kubectl: Kubectl,
}

impl Cluster {
    /// With a node, and without definitions. `None`, and reported, where there is no API server.
    pub(crate) fn start(test: &str, users: &[&str]) -> Option<Self> {
        let options = Options {
            users: users.iter().map(|name| User::new(name)).collect(),
            ..Options::default()
        };
        let control_plane = ControlPlane::start_or_skip(test, &options).unwrap()?;
        let cluster = Self {
            kubectl: control_plane.kubectl().unwrap(),
            control_plane,
        };
        cluster.make_node();
        Some(cluster)
    }

    fn make_node(&self) {
        self.apply_all(&[node()]);
    }

    fn apply_all(&self, objects: &[Value]) {
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    }

    pub(crate) fn apply(&self, object: &Value) {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let applied = self.kubectl.run_with_input(&apply, &object.to_string());
        applied.unwrap();
    }

    /// A service of one port, and its slice with one endpoint.
    pub(crate) fn serve(&self, name: &str, endpoint: &str) {
        self.apply_all(&[service(name), slice(name, endpoint)]);
    }

    /// So many services, all at once.
    pub(crate) fn serve_many(&self, count: usize) {
        self.apply_all(&many(count));
    }

    /// The node and so many services, in a store that has nothing.
    pub(crate) fn make_all_again(&self, count: usize) {
        self.apply_all(&[vec![node()], many(count)].concat());
    }

    pub(crate) fn delete(&self, what: &str) {
        self.kubectl.run(&["delete", what]).unwrap();
    }

    pub(crate) fn define(&self) {
        self.kubectl.run(&["apply", "-f", DEFINITIONS]).unwrap();
        self.wait_until_defined();
    }

    /// Until settings can be asked for.
    pub(crate) fn wait_until_defined(&self) {
        self.kubectl.run_patiently(&["get", "nsp"]).unwrap();
    }

    /// What the operator would write.
    pub(crate) fn ask_for(&self, revision: &str, mode: &str, mark_bit: u32) {
        self.apply(&json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": NODE},
            "spec": {
                "policy": "p", "policyGeneration": 1, "revision": revision, "mode": mode,
                "settings": {"sourceNAT": {"markBit": mark_bit}},
            },
        }));
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            kubeconfig: Some(self.control_plane.kubeconfig()),
            server: None,
        }
    }

    /// A source with the administrator's rights.
    pub(crate) fn source(&self) -> Told {
        Told::by(&self.access(), None)
    }
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
    })
}

fn many(count: usize) -> Vec<Value> {
    let names = (0..count).map(|n| format!("web-{n}"));
    names
        .flat_map(|name| [service(&name), slice(&name, "10.244.1.9")])
        .collect()
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": name},
        "spec": {"ports": [{"port": 80}]},
    })
}

pub(crate) fn slice(name: &str, endpoint: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [endpoint]}],
    })
}

pub(crate) fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// A source, and what it tells.
pub(crate) struct Told {
    source: ClusterSource,
}

impl Told {
    pub(crate) fn by(access: &Access, state_dir: Option<&Path>) -> Self {
        let mut own = ServiceProxyPolicySpec::default();
        own.source_nat.mark_bit = OWN_MARK_BIT;
        let file = state_dir.map(SettingsFile::new);
        let source = ClusterSource::open(access, NODE, own, file).unwrap();
        Self { source }
    }

    /// With an agent that wants to know.
    pub(crate) fn listen(mut self, state: AgentState) -> Self {
        self.source.listen(state);
        self
    }

    pub(crate) fn within(&mut self, wait: Duration) -> Option<Update> {
        self.source.next_update(wait).unwrap()
    }

    pub(crate) fn next(&mut self) -> Update {
        self.within(PATIENCE).expect("nothing is told")
    }

    /// Goes on until what was told makes it so.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&Update) -> bool) -> Update {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.within(Duration::from_millis(500)) {
                Some(update) if is_so(&update) => return update,
                _ => {}
            }
        }
        panic!("not told: {what}");
    }

    pub(crate) fn assert_nothing(&mut self, wait: Duration, why: &str) {
        let told = self.within(wait);
        assert!(told.is_none(), "{why}: {told:?}");
    }
}

/// The mark bit of the policy that an update has, by which tests tell policies apart.
pub(crate) fn mark_bit(update: &Update) -> Option<u32> {
    Some(update.policy.as_ref()?.source_nat.mark_bit)
}
