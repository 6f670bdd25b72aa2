//! Pods of a class, with the plugin's part played by the test: the socket is asked, records are written, sets are looked at.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_attachment::client::Client;
use sluice_attachment::protocol::{Attach, Detached, Request, Response};
use sluice_attachment::store::Store;
use sluice_attachment::{AttachmentId, HairpinSet, Pod, RECORD_VERSION, Record, Treatment};
use sluice_e2e::lab::places::{A1, A2};

use crate::cluster::Cluster;
use crate::nodes::Node;

const PATIENCE: Duration = Duration::from_secs(20);
const PRESERVE: &str = "SLUICE-4-POD-PRESERVE";
const MASQUERADE: &str = "SLUICE-4-POD-MASQ";

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "nodeName": "node-1",
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "pod"}],
        },
    })
}

fn policy(cluster: &Cluster) {
    let spec = json!({
        "mode": "IPTables",
        "rollout": {"minReadySeconds": 0},
        "sourceNAT": {"podClasses": [
            {"name": "keep", "podSelector": {"matchLabels": {"source": "keep"}}, "action": "Preserve"},
            {"name": "team", "namespaceSelector": {"matchLabels": {"team": "a"}}, "action": "Masquerade"},
        ]},
    });
    cluster.policy("everything", &spec);
}

/// The runtime's and the plugin's part.
struct Attachment<'a> {
    node: &'a Node,
    id: AttachmentId,
    pod: Pod,
    address: IpAddr,
}

impl<'a> Attachment<'a> {
    fn new(cluster: &Cluster, node: &'a Node, name: &str, address: IpAddr) -> Self {
        let uid = cluster.kubectl().run(&[
            "get",
            "pod",
            name,
            "-n",
            "shop",
            "-o",
            "jsonpath={.metadata.uid}",
        ]);
        Self {
            node,
            id: AttachmentId::new(format!("sandbox-of-{name}"), "eth0").unwrap(),
            pod: Pod {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
                uid: Some(uid.unwrap()),
            },
            address,
        }
    }

    fn ask(&self, request: &Request) -> Response {
        let socket = self.node.agent.path("run/agent.sock");
        Client::new(socket, PATIENCE).ask(request).unwrap()
    }

    fn treatment(&self) -> Treatment {
        let request = Request::Attach(Attach {
            id: self.id.clone(),
            netns: "/run/netns/sandbox".to_owned(),
            pod: Some(self.pod.clone()),
            addresses: vec![self.address],
        });
        match self.ask(&request) {
            Response::Treatment(treatment) => treatment,
            other => panic!("{other:?}"),
        }
    }

    fn store(&self) -> Store {
        Store::open(self.node.agent.path("state/attachments")).unwrap()
    }

    fn record(&self, treatment: Treatment) {
        let record = Record {
            version: RECORD_VERSION,
            id: self.id.clone(),
            netns: "/run/netns/sandbox".to_owned(),
            network: "pods".to_owned(),
            pod: Some(self.pod.clone()),
            addresses: vec![self.address],
            host_interface: None,
            hairpin: HairpinSet::Nothing,
            treatment,
        };
        self.store().lock(PATIENCE).unwrap().put(&record).unwrap();
    }

    fn end(&self) {
        self.store()
            .lock(PATIENCE)
            .unwrap()
            .remove(&self.id)
            .unwrap();
        self.ask(&Request::Detached(Detached {
            id: self.id.clone(),
        }));
    }

    /// Which of the sets of classes hold the address.
    fn sets(&self) -> Vec<&'static str> {
        let holds = |set: &&str| {
            let listed = self.node.lab.node().command(&format!("ipset list {set}"));
            let address = self.address.to_string();
            listed.unwrap().lines().any(|line| line.trim() == address)
        };
        [PRESERVE, MASQUERADE].into_iter().filter(holds).collect()
    }
}

#[test]
fn the_class_of_a_pod_is_told_at_its_attachment_and_followed_from_then_on() {
    let Some(cluster) = Cluster::up("attachments") else {
        return;
    };
    cluster.serve(1, &[A1]);
    policy(&cluster);
    let label = |what: &[&str]| {
        let words = [&["label", "--overwrite"], what].concat();
        cluster.kubectl().run(&words).unwrap();
    };
    label(&["namespace", "shop", "team=b"]);
    let mut node = Node::up(&cluster, "node-1", &[]);
    cluster.wait_for_condition("spp/everything", "Ready");
    cluster
        .installation
        .apply(&[
            pod("web", &json!({"source": "keep"})),
            pod("db", &json!({})),
        ])
        .unwrap();

    let web = Attachment::new(&cluster, &node, "web", A1.v4.into());
    let told = web.treatment();
    assert_eq!(told.class.as_deref(), Some("keep"));
    assert_eq!(told.sets[0].name, PRESERVE);
    let db = Attachment::new(&cluster, &node, "db", A2.v4.into());
    assert_eq!(db.treatment().class, None);

    // The plugin ended between record and set, and its entry of another pod stayed.
    node.lab
        .node()
        .command(&format!("ipset add {MASQUERADE} 10.244.0.99"))
        .unwrap();
    web.record(told);
    db.record(db.treatment());
    let listed = |set: &str| {
        node.lab
            .node()
            .command(&format!("ipset list {set}"))
            .unwrap()
    };
    cluster.eventually("what is missing came, and what nobody owns went", || {
        web.sets() == [PRESERVE] && !listed(MASQUERADE).contains("10.244.0.99")
    });
    assert!(db.sets().is_empty());

    label(&["namespace", "shop", "team=a"]);
    cluster.eventually("labels of the namespace are followed", || {
        db.sets() == [MASQUERADE]
    });
    label(&["pod", "web", "-n", "shop", "source-"]);
    cluster.eventually("labels of the pod are followed", || {
        web.sets() == [MASQUERADE]
    });
    web.end();
    cluster.eventually("an attachment that ended is in no set", || {
        web.sets().is_empty() && db.sets() == [MASQUERADE]
    });
    let (id, address) = (db.id.clone(), db.address);

    // A pod that is gone from the API server and has not ended yet stays what it was, also over a restart.
    cluster
        .kubectl()
        .run(&[
            "delete",
            "pod",
            "db",
            "-n",
            "shop",
            "--force",
            "--grace-period=0",
        ])
        .unwrap();
    node.agent.kill().unwrap();
    node.lab
        .node()
        .command(&format!("ipset flush {MASQUERADE}"))
        .unwrap();
    node.start_agent();
    node.wait_until_healthy(&cluster);
    let db = Attachment {
        node: &node,
        id,
        pod: Pod {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            uid: None,
        },
        address,
    };
    cluster.eventually("the class of before is in force", || {
        db.sets() == [MASQUERADE]
    });
}
