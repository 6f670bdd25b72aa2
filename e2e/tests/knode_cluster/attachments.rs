//! Pods of a class, attached by the plugin as a runtime calls it: labels are the API server's, and what changes there is followed.

use std::cell::OnceCell;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::attach::{Node, Pod};
use sluice_e2e::control_plane::Relay;
use sluice_e2e::lab::places::A1;

use crate::cluster::Cluster;
use crate::nodes::{AGENT, describe};

const NAME: &str = "node-1";

/// A node of the cluster whose pods are attached.
struct Pods<'a> {
    cluster: &'a Cluster,
    // Before the node: both live in its namespace.
    agent: AgentProcess,
    relay: Relay,
    node: Node,
}

impl<'a> Pods<'a> {
    fn up(cluster: &'a Cluster) -> Self {
        cluster.installation.add_node(NAME, &[]).unwrap();
        describe(cluster, NAME);
        let kubeconfig = cluster.installation.agent_kubeconfig(NAME).unwrap();
        let agent = AgentProcess::with_kubeconfig(Path::new(AGENT), NAME, &kubeconfig).unwrap();
        let plugin = std::env::var_os("SLUICE_CNI")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_cni-under-test").into());
        let node = Node::with_agent(plugin, &agent).unwrap();
        let relay = Relay::start(&cluster.installation.control_plane, node.namespace()).unwrap();
        let mut pods = Self {
            cluster,
            agent,
            relay,
            node,
        };
        pods.start_agent();
        cluster.wait_until_ready("spp/everything", 1);
        pods
    }

    fn start_agent(&mut self) {
        self.agent.start(self.node.namespace()).unwrap();
    }

    /// Kills the agent, and starts it where the API server cannot be reached.
    fn restart_agent_alone(&mut self) {
        self.relay.cut();
        self.agent.kill().unwrap();
        self.start_agent();
        let socket = self.node.socket();
        let listens = || UnixStream::connect(&socket).is_ok();
        self.cluster.eventually("the agent listens", listens);
    }

    /// Puts an object to the API server.
    fn make(&self, name: &str, labels: &Value) {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": labels},
            "spec": {
                "nodeName": NAME,
                "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "pod"}],
            },
        });
        self.cluster.installation.apply(&[pod]).unwrap();
    }

    fn label(&self, what: &[&str]) {
        let words = [&["label", "--overwrite"], what].concat();
        self.cluster.kubectl().run(&words).unwrap();
    }

    /// Attaches a sandbox of that name; returns what the plugin logged, too.
    fn attach(&self, name: &str) -> (Attached, String) {
        let sandbox = Pod::new(name).unwrap();
        let (result, log) = self.chain().add(&sandbox).unwrap().unwrap();
        (Attached { sandbox, result }, log)
    }

    /// Attaches a sandbox of a pod when the agent has heard of it.
    fn attach_known(&self, name: &str) -> Attached {
        let known = OnceCell::new();
        self.cluster.eventually("the agent knows the pod", || {
            let (attached, log) = self.attach(name);
            if log.is_empty() {
                return known.set(attached).is_ok();
            }
            self.detach(&attached);
            false
        });
        known.into_inner().unwrap()
    }

    fn detach(&self, attached: &Attached) {
        let ended = self.chain().del(&attached.sandbox, &attached.result);
        ended.unwrap().unwrap();
    }

    fn chain(&self) -> sluice_e2e::attach::Chain<'_> {
        let own = self.node.sluice(&json!({
            "withoutAgent": {"sourceNAT": "Masquerade"},
            // An agent on a busy machine is late, not away.
            "agentTimeoutMilliseconds": 10_000,
        }));
        self.node.chain("1.0.0", vec![self.node.bridge(), own])
    }

    fn members(&self) -> Vec<String> {
        self.node.members().unwrap()
    }

    fn eventually_holds(&self, what: &str, expected: &[&[String]]) {
        let mut expected = expected.concat();
        expected.sort();
        let is_so = || self.members() == expected;
        let said = format!("{what}: {expected:?}");
        self.cluster.eventually(&said, is_so);
    }

    fn ipset(&self, line: &str) {
        let line = format!("ipset {line}");
        self.node.namespace().command(&line).unwrap();
    }
}

struct Attached {
    sandbox: Pod,
    result: Value,
}

impl Attached {
    /// Its members of the sets of a class.
    fn of(&self, class: &str) -> Vec<String> {
        let addresses = Pod::addresses(&self.result);
        let digits = addresses.iter().zip([4, 6]);
        digits
            .map(|(address, digit)| format!("SLUICE-{digit}-POD-{class} {address}"))
            .collect()
    }
}

fn policy(cluster: &Cluster, classes: &Value) {
    let spec = json!({
        "mode": "IPTables",
        "rollout": {"minReadySeconds": 0},
        "sourceNAT": {"podClasses": classes},
    });
    cluster.policy("everything", &spec);
}

fn by_labels() -> Value {
    json!([
        {"name": "keep", "podSelector": {"matchLabels": {"source": "keep"}}, "action": "Preserve"},
        {"name": "team", "namespaceSelector": {"matchLabels": {"team": "a"}}, "action": "Masquerade"},
    ])
}

#[test]
fn the_class_of_a_pod_is_in_force_at_its_attachment_and_followed_from_then_on() {
    let Some(cluster) = Cluster::up("attachments") else {
        return;
    };
    cluster.serve(1, &[A1]);
    policy(&cluster, &by_labels());
    let mut pods = Pods::up(&cluster);
    pods.label(&["namespace", "shop", "team=b"]);
    pods.make("web", &json!({"source": "keep"}));
    pods.make("db", &json!({}));

    let web = pods.attach_known("web");
    assert_eq!(pods.members(), web.of("PRESERVE"));
    // Somebody took a member out, and put another in.
    pods.ipset(&format!("del {}", web.of("PRESERVE")[0]));
    pods.ipset("add SLUICE-4-POD-MASQ 10.99.0.250");
    let db = pods.attach_known("db");
    pods.eventually_holds("what went came back", &[&web.of("PRESERVE")]);

    pods.label(&["namespace", "shop", "team=a"]);
    let both = [&web.of("PRESERVE")[..], &db.of("MASQ")];
    pods.eventually_holds("labels of the namespace are followed", &both);
    pods.label(&["pod", "web", "-n", "shop", "source-"]);
    let both = [&web.of("MASQ")[..], &db.of("MASQ")];
    pods.eventually_holds("labels of the pod are followed", &both);
    pods.detach(&web);
    assert_eq!(pods.members(), db.of("MASQ"));

    // A pod that is gone from the API server and has not ended yet stays what it was, also over a restart.
    let gone = [
        "delete",
        "pod",
        "db",
        "-n",
        "shop",
        "--force",
        "--grace-period=0",
    ];
    cluster.kubectl().run(&gone).unwrap();
    pods.agent.kill().unwrap();
    pods.ipset("flush SLUICE-4-POD-MASQ");
    pods.start_agent();
    pods.eventually_holds("the class of before is in force", &[&db.of("MASQ")]);
    pods.detach(&db);
    assert_eq!(pods.members(), [""; 0]);
    assert_eq!(pods.node.remembered().unwrap(), [""; 0]);
}

#[test]
fn an_agent_that_starts_without_the_api_server_keeps_the_classes_as_they_were() {
    let Some(cluster) = Cluster::up("attachments without API server") else {
        return;
    };
    cluster.serve(1, &[A1]);
    policy(&cluster, &by_labels());
    let mut pods = Pods::up(&cluster);
    for name in ["web", "late"] {
        pods.make(name, &json!({"source": "keep"}));
    }
    let web = pods.attach_known("web");
    assert_eq!(pods.members(), web.of("PRESERVE"));
    pods.restart_agent_alone();
    pods.ipset(&format!("del {}", web.of("PRESERVE")[1]));
    // Labels cannot be known now, so the configuration of the plugin counts.
    let (late, log) = pods.attach("late");
    assert!(log.contains("has not told of the pod shop/late"), "{log}");
    let both = [&web.of("PRESERVE")[..], &late.of("MASQ")];
    pods.eventually_holds("a member that went comes back", &both);
    pods.relay.mend();
    let both = [&web.of("PRESERVE")[..], &late.of("PRESERVE")];
    pods.eventually_holds("the late one is of its class", &both);
    for attached in [&web, &late] {
        pods.detach(attached);
    }

    // A class that takes every pod is known without labels.
    policy(&cluster, &json!([{"name": "all", "action": "Preserve"}]));
    cluster.eventually("the new class is in force", || {
        let (probe, _) = pods.attach("probe");
        let is_so = pods.members() == probe.of("PRESERVE");
        pods.detach(&probe);
        is_so
    });
    pods.restart_agent_alone();
    let (web, log) = pods.attach("web");
    assert_eq!(log, "");
    assert_eq!(pods.members(), web.of("PRESERVE"));
    pods.detach(&web);
    assert_eq!(pods.members(), [""; 0]);
    assert!(!pods.agent.is_healthy(pods.node.namespace()).unwrap());
    pods.relay.mend();
}
