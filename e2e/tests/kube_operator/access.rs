//! Ways to the API server that lead nowhere: said with what is to be changed.

use std::path::Path;
use std::process::Command;

use sluice_e2e::installation::NAMESPACE;
use sluice_e2e::operator_process::OperatorProcess;

use crate::cluster::{Cluster, OPERATOR, spec};

/// What an operator says that ends by itself.
fn last_words(arguments: &[&str]) -> String {
    let ended = Command::new(OPERATOR)
        .args(arguments)
        .arg("--bind-address=off")
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_said_in_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let malformed = directory.path().join("malformed");
    std::fs::write(&malformed, "users: [{name: u, user: {token: s3cret}]").unwrap();
    for (path, remedy) in [
        (Path::new("/nonexistent/kubeconfig"), "put one there"),
        (directory.path(), "check that it is a file"),
        (&malformed, "check that it is YAML"),
    ] {
        let path = path.display().to_string();
        let said = last_words(&["--kubeconfig", &path]);
        assert!(said.contains(&path) && said.contains(remedy), "{said}");
        assert!(!said.contains("s3cret"), "a kubeconfig has secrets: {said}");
    }
    let said = last_words(&["--no-such-flag"]);
    assert!(said.contains("--no-such-flag"), "{said}");
}

#[test]
fn an_api_server_that_is_not_trusted_is_said_with_the_file_to_mend_which_is_enough() {
    let Some(cluster) = Cluster::up("another authority") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 1);
    let installation = &cluster.installation;
    let kubeconfig = installation.operator_kubeconfig().unwrap();
    let distrust = installation.control_plane.distrust(&kubeconfig).unwrap();
    let kubeconfig = distrust.kubeconfig.display().to_string();
    let mut operator =
        OperatorProcess::new(Path::new(OPERATOR), &distrust.kubeconfig, NAMESPACE).unwrap();
    operator.start().unwrap();
    let says_so = |what: &str| {
        let log = operator.log();
        let mut lines = log.lines();
        lines.any(|line| {
            line.contains(what)
                && line.contains("signed by unknown authority")
                && line.contains(&format!("check certificate-authority in {kubeconfig}"))
        })
    };
    cluster.eventually("watches and election say what to check", || {
        says_so("kind=\"Node\"") && says_so("the lease cannot be asked after")
    });
    assert!(!operator.is_ready().unwrap());
    assert!(
        operator
            .metric("sluice_operator_api_requests_total")
            .unwrap()
            > 0.0
    );
    distrust.mend().unwrap();
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_for("spp/edge", "Ready");
    let warned = operator
        .log()
        .matches("the lease cannot be asked after")
        .count();
    // It looks every two seconds for most of a minute, and warns when the words are others than at the last look.
    assert!(warned <= 8, "said {warned} times");
}
