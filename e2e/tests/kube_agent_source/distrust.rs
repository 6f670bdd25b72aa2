//! An API server whose certificate is not believed, or that does not believe ours, and a kubeconfig that cannot be used.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_agent::agent::{Inbox, Report};
use sluice_agent::health::Health;
use sluice_agent::metrics::Metrics;
use sluice_agent::source::AgentState;
use sluice_api_access::Access;

use crate::cluster::{Cluster, PATIENCE, Told, name};

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");
/// Administrators, each with a certificate signed by itself, and its key.
const IDENTITIES: [&str; 2] = [
    include_str!("../../../api-access/src/identity/first.pem"),
    include_str!("../../../api-access/src/identity/second.pem"),
];
/// Within which files with certificates are read again.
const READ_AGAIN: Duration = Duration::from_secs(60);

#[test]
fn a_server_that_is_not_trusted_tells_nothing_until_the_file_with_its_authority_is_mended() {
    let Some(cluster) = Cluster::start("another authority", &[]) else {
        return;
    };
    cluster.serve("web", "10.244.1.5");
    let control_plane = &cluster.control_plane;
    let distrust = control_plane.distrust(&control_plane.kubeconfig()).unwrap();
    let access = Access {
        kubeconfig: Some(distrust.kubeconfig.clone()),
        server: None,
    };
    let metrics = Arc::new(Metrics::default());
    let (_reports, report) = tokio::sync::watch::channel(Report::default());
    let mut told = Told::by(&access, None).listen(AgentState {
        health: Arc::new(Health::new(Arc::new(Inbox::default()))),
        report,
        metrics: Arc::clone(&metrics),
        pods: tokio::sync::watch::Sender::default(),
    });
    told.assert_nothing(Duration::from_secs(10), "nobody is believed");
    let text = metrics.text().unwrap();
    for series in [
        r#"sluice_api_errors_total{kind="Service",error="untrusted"}"#,
        r#"sluice_api_requests_total{verb="watch",resource="services",code="none"}"#,
        r#"sluice_api_connected{kind="Service"} 0"#,
    ] {
        assert!(text.contains(series), "{series} in {text}");
    }
    distrust.mend().unwrap();
    let first = told.within(READ_AGAIN + PATIENCE).expect("it is trusted");
    assert!(first.services.contains_key(&name("web")));
    let text = metrics.text().unwrap();
    let answered = r#"sluice_api_requests_total{verb="watch",resource="services",code="200"}"#;
    assert!(text.contains(answered), "{text}");
}

#[test]
fn a_client_certificate_that_is_replaced_counts_without_a_restart() {
    let Some(mut cluster) = Cluster::start("a client certificate that is renewed", &[]) else {
        return;
    };
    cluster.serve("web", "10.244.1.5");
    let [old, new] = IDENTITIES;
    let directory = tempfile::tempdir().unwrap();
    // As the kubelet keeps its own.
    let file = directory.path().join("current.pem");
    let admin = std::fs::read_to_string(cluster.control_plane.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&admin).unwrap();
    kubeconfig["users"][0]["user"] = json!({"client-certificate": file, "client-key": file});
    let access = Access {
        kubeconfig: Some(directory.path().join("kubeconfig")),
        server: None,
    };
    std::fs::write(&file, old).unwrap();
    std::fs::write(directory.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    cluster.control_plane.accept_clients_of(old).unwrap();
    let mut told = Told::by(&access, None);
    assert!(told.next().services.contains_key(&name("web")));

    std::fs::write(&file, new).unwrap();
    cluster.control_plane.accept_clients_of(new).unwrap();
    cluster.delete("service/web");
    let update = told.within(READ_AGAIN + PATIENCE);
    let update = update.expect("the new certificate is accepted");
    assert_eq!(update.services[&name("web")], None);
}

#[test]
fn a_kubeconfig_that_cannot_be_used_ends_an_agent_before_it_has_touched_anything() {
    let directory = tempfile::tempdir().unwrap();
    let malformed = directory.path().join("malformed");
    std::fs::write(&malformed, "users: [{name: u, user: {token: s3cret}]").unwrap();
    for (path, remedy) in [
        (Path::new("/nonexistent/kubeconfig"), "put one there"),
        (directory.path(), "check that it is a file"),
        (&malformed, "check that it is YAML"),
    ] {
        let (state, run) = (directory.path().join("state"), directory.path().join("run"));
        let ended = Command::new(AGENT)
            .args(["run", "--node-name=node-1", "--kubeconfig"])
            .arg(path)
            .arg("--state-dir")
            .arg(&state)
            .arg("--run-dir")
            .arg(&run)
            .output()
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        let path = path.display().to_string();
        assert!(said.contains(&path) && said.contains(remedy), "{said}");
        assert!(
            !said.contains("s3cret") && !said.contains("panicked"),
            "{said}"
        );
        assert!(!run.exists(), "it had not begun");
    }
}
