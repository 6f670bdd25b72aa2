use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as Stream;
use std::thread;
use std::time::Instant;

use sluice_attachment::client::{Client, ClientError};
use sluice_attachment::protocol::Detached;
use sluice_attachment::{AttachmentId, Pod, SetName};
use sluice_crds::v1alpha1::{ActiveMode, ServiceProxyPolicySpec};
use tempfile::TempDir;

use super::super::pods::PodLabels;
use super::*;
use crate::settings::{NodeNetworks, NodeSettings};

/// More than any answer takes.
const LONG: Duration = Duration::from_secs(20);

/// An agent, as far as a plugin sees one.
struct Agent {
    directory: TempDir,
    report: watch::Sender<Report>,
    pods: watch::Sender<Pods>,
    nudge: Arc<Notify>,
    metrics: Arc<Metrics>,
}

impl Agent {
    fn start() -> Self {
        Self::waiting(WAIT_FOR_POD)
    }

    /// One that waits so long for a pod.
    fn waiting(pod: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (report, reports) = watch::channel(Report::default());
        let (pods, known_pods) = watch::channel(Pods::default());
        let agent = Self {
            report,
            pods,
            nudge: Arc::new(Notify::new()),
            metrics: Arc::new(Metrics::default()),
            directory,
        };
        let desk = Desk {
            report: reports,
            pods: known_pods,
            nudge: Arc::clone(&agent.nudge),
            metrics: Arc::clone(&agent.metrics),
            waits: Waits {
                exchange: LONG,
                pod,
            },
        };
        let listener = bind(agent.directory.path()).unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, desk))
        });
        agent
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    fn ask(&self, request: &Request) -> Response {
        Client::new(self.socket(), LONG).ask(request).unwrap()
    }

    fn refuses(&self, request: &Request) -> String {
        match Client::new(self.socket(), LONG).ask(request) {
            Err(ClientError::Refused { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn programs(&self, classes: &str) {
        let mut policy = ServiceProxyPolicySpec::default();
        policy.source_nat.pod_classes = serde_json::from_str(classes).unwrap();
        let terms = NodeSettings::resolve(&policy, NodeNetworks::default()).attachments;
        self.report.send_modify(|report| {
            report.mode = Some(ActiveMode::IPTables);
            report.terms = Some(terms);
        });
    }

    fn knows(&self, uid: &str, tier: &str) {
        let pod = PodLabels {
            uid: uid.to_owned(),
            labels: [("tier".to_owned(), tier.to_owned())].into(),
        };
        let key = ("shop".to_owned(), "web".to_owned());
        self.pods
            .send_modify(|pods| pods.pods = Arc::new([(key, pod)].into()));
    }
}

const CLASSES: &str = r#"[
    {"name": "keep", "podSelector": {"matchLabels": {"tier": "front"}}, "action": "Preserve",
     "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}]}
]"#;

fn attach(uid: &str) -> Request {
    Request::Attach(Attach {
        id: AttachmentId::new("c1", "eth0").unwrap(),
        netns: "/run/netns/c1".to_owned(),
        pod: Some(Pod {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: Some(uid.to_owned()),
        }),
        addresses: vec!["10.244.0.5".parse().unwrap()],
    })
}

fn treatment(response: Response) -> Treatment {
    match response {
        Response::Treatment(treatment) => treatment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_gets_what_its_class_says() {
    let agent = Agent::start();
    agent.programs(CLASSES);
    agent.knows("u1", "front");
    let told = treatment(agent.ask(&attach("u1")));
    assert_eq!(told.class.as_deref(), Some("keep"));
    assert_eq!(told.sysctls[0].value, "1024 65535");
    let names: Vec<&SetName> = told.sets_of("10.244.0.5".parse().unwrap()).collect();
    assert_eq!(names.len(), 1, "{told:?}");
    agent.knows("u1", "back");
    let told = treatment(agent.ask(&attach("u1")));
    assert!(told.class.is_none() && told.sets.is_empty());
}

#[test]
fn a_pod_that_is_not_known_yet_is_waited_for_but_not_for_long() {
    let agent = Agent::start();
    agent.programs(CLASSES);
    agent.knows("u0", "front");
    let start = Instant::now();
    let refused = agent.refuses(&attach("u1"));
    assert!(refused.contains("pod shop/web"), "{refused}");
    assert!(start.elapsed() >= WAIT_FOR_POD);
}

#[test]
fn a_pod_that_becomes_known_meanwhile_gets_what_its_class_says() {
    let agent = Agent::waiting(LONG);
    agent.programs(CLASSES);
    agent.knows("u0", "front");
    thread::scope(|scope| {
        let asked = scope.spawn(|| agent.ask(&attach("u1")));
        thread::sleep(WAIT_FOR_POD / 8);
        agent.knows("u1", "front");
        let told = treatment(asked.join().unwrap());
        assert_eq!(told.class.as_deref(), Some("keep"));
    });
}

#[test]
fn where_no_labels_matter_no_pod_has_to_be_known() {
    let agent = Agent::start();
    agent.programs("[]");
    assert_eq!(treatment(agent.ask(&attach("u1"))).class, None);
    agent.programs(r#"[{"name": "all", "action": "Masquerade"}]"#);
    let told = treatment(agent.ask(&attach("u1")));
    assert_eq!(told.class.as_deref(), Some("all"));
}

#[test]
fn before_the_first_sync_it_is_not_ready_and_says_why() {
    let agent = Agent::start();
    let status = |agent: &Agent| match agent.ask(&Request::Status(Nothing {})) {
        Response::Status(status) => status,
        other => panic!("{other:?}"),
    };
    assert!(!status(&agent).ready);
    let failure = "iptables-restore is missing";
    agent
        .report
        .send_modify(|report| report.failure = Some(failure.to_owned()));
    assert!(status(&agent).message.contains(failure));
    let refused = agent.refuses(&attach("u1"));
    assert!(refused.contains("not programmed"), "{refused}");
    agent.programs("[]");
    assert!(status(&agent).ready);
}

#[test]
fn nonsense_is_refused_and_silence_does_not_keep_others_waiting() {
    let agent = Agent::start();
    agent.programs("[]");
    let silent: Vec<Stream> = (0..AT_ONCE / 2)
        .map(|_| Stream::connect(agent.socket()).unwrap())
        .collect();
    for nonsense in [
        "\n",
        "{}\n",
        "{\"version\":9,\"status\":{}}\n",
        "{\"version\":1,\"status\":{}}",
    ] {
        let mut stream = Stream::connect(agent.socket()).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("refused"), "{nonsense:?}: {answer}");
    }
    // They are not left alone before this would be late.
    treatment(agent.ask(&attach("u1")));
    drop(silent);
}

#[test]
fn many_that_ask_at_once_are_all_answered() {
    let agent = Agent::start();
    agent.programs("[]");
    thread::scope(|scope| {
        let asked: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| agent.ask(&attach("u1"))))
            .collect();
        for one in asked {
            treatment(one.join().unwrap());
        }
    });
    let text = agent.metrics.text().unwrap();
    let counted = "sluice_attachment_requests_total{request=\"attach\"} 200";
    assert!(text.contains(counted), "{text}");
}

#[test]
fn an_attachment_that_ends_is_looked_at_and_an_agent_that_was_killed_leaves_no_obstacle() {
    let agent = Agent::start();
    let id = AttachmentId::new("c1", "eth0").unwrap();
    let response = agent.ask(&Request::Detached(Detached { id }));
    assert_eq!(response, Response::Done(Nothing {}));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { timeout(LONG, agent.nudge.notified()).await })
        .unwrap();
    drop(bind(agent.directory.path()).unwrap());
    let mode = fs::metadata(agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_agent_that_starts_by_what_an_earlier_one_left_is_ready() {
    let agent = Agent::start();
    let policy = ServiceProxyPolicySpec::default();
    let terms = NodeSettings::resolve(&policy, NodeNetworks::default()).attachments;
    agent
        .report
        .send_modify(|report| report.terms = Some(terms));
    for failure in [None, Some("the kernel is busy")] {
        agent
            .report
            .send_modify(|report| report.failure = failure.map(ToOwned::to_owned));
        let Response::Status(status) = agent.ask(&Request::Status(Nothing {})) else {
            panic!("not a status");
        };
        assert!(status.ready, "{status:?}");
    }
}
