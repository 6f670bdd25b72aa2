use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use sluice_crds::v1alpha1::{NodeServiceProxyStatus, ServiceProxyPolicySpec};

use super::*;
use crate::objects::{Node as KnownNode, Proxy};
use crate::rest;
use crate::revision::{Content, Revision};
use crate::status::Event;
use crate::test_server;

const PROXIES: &str = "/apis/sluice.dev/v1alpha1/nodeserviceproxies";
const POLICIES: &str = "/apis/sluice.dev/v1alpha1/serviceproxypolicies";
const REVISIONS: &str = "/apis/apps/v1/namespaces/sluice-system/controllerrevisions";

/// An API server that takes everything as it comes, but for what it refuses, and for what it never answers: all about `silent`, and what shall be told
/// of `mute`.
struct ApiServer {
    /// By path and what is sent there.
    refuses: fn(&str, &str) -> bool,
    asked: Mutex<Vec<String>>,
    /// Notes of events that were made.
    notes: Mutex<Vec<Value>>,
}

impl ApiServer {
    /// One that runs, a writer that writes to it, and the cluster that the writer knows.
    async fn start(refuses: fn(&str, &str) -> bool) -> (Arc<Self>, Writer, Arc<Cluster>) {
        let server = Arc::new(Self {
            refuses,
            asked: Mutex::default(),
            notes: Mutex::default(),
        });
        let answering = Arc::clone(&server);
        let answers = Router::new().fallback(move |request: Request| async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let sent = to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let sent = String::from_utf8(sent.to_vec()).unwrap();
            let (code, answer) = answering.answer(&method, &path, &sent);
            let is_about = |name: &str| sent.contains(&format!("\"name\":\"{name}\""));
            if is_about("silent") || (path.ends_with("/events") && is_about("mute")) {
                pending::<()>().await;
            }
            (code, answer.to_string())
        });
        let config = test_server::start(answers).await.config;
        let cluster = Arc::new(Cluster::default());
        let writer = Writer::new(
            Client::try_from(config).unwrap(),
            "sluice-system".to_owned(),
            "test",
            Leadership::alone(),
            Arc::clone(&cluster),
            Arc::new(Metrics::new()),
        );
        (server, writer, cluster)
    }

    fn answer(&self, method: &Method, path: &str, sent: &str) -> (StatusCode, Value) {
        self.asked.lock().unwrap().push(format!("{method} {path}"));
        if (self.refuses)(path, sent) {
            let status = json!({"kind": "Status", "status": "Failure", "code": 422});
            return (StatusCode::UNPROCESSABLE_ENTITY, status);
        }
        let mut answer = match *method {
            Method::DELETE => json!({"kind": "Status", "status": "Success"}),
            _ if path.starts_with("/api/v1/nodes/") => json!({"metadata": {"name": "served"}}),
            _ => serde_json::from_str(sent).unwrap(),
        };
        if *method == Method::POST && path.ends_with("/events") {
            self.notes.lock().unwrap().push(answer["note"].clone());
        }
        if path.starts_with(POLICIES) {
            let is_strange = path.contains("strange");
            answer["spec"] = if is_strange { strange() } else { json!({}) };
        }
        (StatusCode::OK, answer)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn strange() -> Value {
    json!({"mode": "Strange"})
}

fn add_policy(cluster: &Cluster, name: &str, spec: &Value) {
    let metadata = json!({"name": name, "uid": name, "resourceVersion": "1", "generation": 1});
    let stored = json!({"metadata": metadata, "spec": spec});
    let stored: StoredPolicy = serde_json::from_value(stored).unwrap();
    let policy = stored.read().unwrap();
    cluster.change(|held| drop(held.snapshot.policies.insert(Arc::from(name), policy)));
}

fn add_node(cluster: &Cluster, name: &str, pool: &str, taint: Option<usize>) {
    let node = KnownNode {
        name: Arc::from(name),
        uid: name.to_owned(),
        labels: [("pool".to_owned(), pool.to_owned())].into(),
        is_reachable: true,
        so_since: None,
        not_ready_taint: taint,
    };
    cluster.change(|held| drop(held.snapshot.nodes.insert(Arc::from(name), node)));
}

/// An object of a node that was told nothing that can be read.
fn add_proxy(cluster: &Cluster, name: &str) {
    let mut proxy = Proxy::of(
        ObjectMeta::default(),
        None,
        &NodeServiceProxyStatus::default(),
    );
    proxy.owner = Some(name.to_owned());
    proxy.is_programmed = true;
    cluster.change(|held| drop(held.snapshot.proxies.insert(Arc::from(name), proxy)));
}

/// Two policies with a node each, and something of everything else that is written.
fn fill(cluster: &Cluster) {
    for pool in ["bad", "good"] {
        let spec = json!({"nodeSelector": {"matchLabels": {"pool": pool}}});
        add_policy(cluster, pool, &spec);
        add_node(cluster, &format!("of-{pool}"), pool, None);
    }
    add_node(cluster, "served", "none", Some(0));
    add_proxy(cluster, "served");
    add_proxy(cluster, "gone");
    let content = Content::of(&ServiceProxyPolicySpec::default());
    let old = Revision::new(&Arc::from("old"), 1, content);
    cluster.change(|held| drop(held.snapshot.revisions.insert(Arc::clone(&old.name), old)));
}

#[tokio::test]
async fn a_status_is_written_though_the_spec_in_the_answer_is_not_known_here() {
    let (server, writer, cluster) = ApiServer::start(|_, _| false).await;
    add_policy(&cluster, "strange", &strange());
    let again = writer.write(cluster.plan(false)).await;
    assert_eq!(again, None);
    let status = format!("PATCH {POLICIES}/strange/status");
    assert!(server.asked().contains(&status), "{:?}", server.asked());
    assert!(cluster.plan(false).is_empty(), "it is known to be written");
}

#[tokio::test]
async fn what_is_refused_of_a_policy_keeps_its_nodes_back_and_nothing_else() {
    let of_status = |path: &str, _: &str| path.ends_with("/bad/status");
    let of_revision = |path: &str, sent: &str| path == REVISIONS && sent.contains("\"bad-");
    for refuses in [of_status as fn(&str, &str) -> bool, of_revision] {
        let (server, writer, cluster) = ApiServer::start(refuses).await;
        fill(&cluster);
        let plan = cluster.plan(true);
        let again = writer.write(plan.clone()).await;
        assert!(again.is_some(), "it is tried again");
        let asked = server.asked();
        for done in [
            format!("PATCH {POLICIES}/good/status"),
            format!("PATCH {PROXIES}/of-good"),
            format!("DELETE {PROXIES}/gone"),
            "PATCH /api/v1/nodes/served".to_owned(),
            format!("DELETE {REVISIONS}/{}", plan.old_revisions[0]),
        ] {
            assert!(asked.contains(&done), "{done} among {asked:?}");
        }
        let waits = format!("PATCH {PROXIES}/of-bad");
        assert!(!asked.contains(&waits), "{asked:?}");
        assert!(plan.nodes.iter().any(|write| &*write.node == "of-bad"));
    }
}

#[tokio::test]
async fn what_gets_no_answer_is_given_up_and_keeps_nobody_else_waiting() {
    let (server, mut writer, cluster) = ApiServer::start(|_, _| false).await;
    // An event that is given up too soon fails nothing; a write does.
    writer.events.patience = Patience::of(Duration::from_millis(100));
    writer.patience = Patience::of(Duration::from_millis(1500));
    for pool in ["silent", "mute"] {
        let spec = json!({"nodeSelector": {"matchLabels": {"pool": pool}}});
        add_policy(&cluster, pool, &spec);
        add_node(&cluster, &format!("of-{pool}"), pool, None);
    }
    add_node(&cluster, "silent", "mute", None);
    let write = writer.write(cluster.plan(true));
    let written = tokio::time::timeout(Duration::from_secs(60), write).await;
    assert!(written.unwrap().is_some(), "it is tried again");
    let asked = server.asked();
    for done in [
        format!("PATCH {POLICIES}/silent/status"),
        format!("PATCH {PROXIES}/of-mute"),
        format!("PATCH {PROXIES}/silent"),
    ] {
        assert!(asked.contains(&done), "{done} among {asked:?}");
    }
    let waits = format!("PATCH {PROXIES}/of-silent");
    assert!(!asked.contains(&waits), "{asked:?}");
}

#[tokio::test]
async fn a_revision_and_a_status_are_written_before_a_node_is_told() {
    let (server, writer, cluster) = ApiServer::start(|_, _| false).await;
    fill(&cluster);
    writer.write(cluster.plan(true)).await;
    let asked = server.asked();
    let first = |begin: &str| asked.iter().position(|words| words.starts_with(begin));
    let last = |begin: &str| asked.iter().rposition(|words| words.starts_with(begin));
    let node = first(&format!("PATCH {PROXIES}/")).unwrap();
    for earlier in [format!("POST {REVISIONS}"), format!("PATCH {POLICIES}/")] {
        assert!(last(&earlier).unwrap() < node, "{asked:?}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_written_rests_and_keeps_nobody_else_waiting() {
    const REFUSED: &str = "PATCH /api/v1/nodes/served";
    let (server, writer, cluster) =
        ApiServer::start(|path, _| path == "/api/v1/nodes/served").await;
    fill(&cluster);
    let begun = Instant::now();
    let its_time = writer.write(cluster.plan(true)).await.unwrap();
    assert!(its_time > begun && its_time < Instant::now() + rest::LONGEST);
    let first = server.asked();
    let refused = |asked: &[String]| asked.iter().filter(|one| *one == REFUSED).count();
    assert_eq!(refused(&first), 1);
    add_node(&cluster, "new", "good", None);
    let again = writer.write(cluster.plan(true)).await;
    assert!(again.is_some(), "it waits for its time");
    let asked = server.asked();
    assert!(refused(&asked) == 1 || Instant::now() > its_time);
    let new = format!("PATCH {PROXIES}/new");
    assert!(asked.contains(&new), "{asked:?}");
}

#[tokio::test]
async fn two_events_of_one_reason_are_told_with_the_words_of_each() {
    let (server, writer, _) = ApiServer::start(|_, _| false).await;
    for note in ["node n1 is late", "node n2 is late"] {
        let event = Event {
            is_warning: true,
            reason: "RolloutStalled",
            note: note.to_owned(),
        };
        let about = Arc::from("edge");
        writer.events.tell(Kind::Policy, &about, None, &event).await;
    }
    let notes = server.notes.lock().unwrap().clone();
    assert_eq!(notes, ["node n1 is late", "node n2 is late"]);
}
