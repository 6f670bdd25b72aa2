//! Ways to an API server that lead nowhere, and clusters that say no: one sentence, with what to do.

use std::path::Path;

use sluice_e2e::installation::Installation;

use crate::world::{NOBODY, World, control_plane, plugin_with};

/// What is said in place of an answer.
fn refusal(kubeconfig: &Path, arguments: &[&str]) -> String {
    let said = plugin_with(kubeconfig).run(arguments).unwrap();
    assert_eq!(said.code, Some(2), "{} {}", said.stdout, said.stderr);
    assert_eq!(said.stdout, "");
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    assert!(
        said.stderr.starts_with("kubectl sluice: "),
        "{}",
        said.stderr
    );
    said.stderr
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_said_with_what_to_change() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // Port 1 of the loopback: nobody listens there.
    let good = write(
        "good",
        "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: s3cret}}], \
         contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}",
    );
    let absent = directory.path().join("absent");
    let said = refusal(&absent, &["status"]);
    assert!(
        said.contains("absent") && said.contains("put one there"),
        "{said}"
    );
    let said = refusal(
        &write("bad", "users: [{name: u, user: {token: s3cret}]"),
        &["status"],
    );
    assert!(
        said.contains("check that it is YAML") && !said.contains("s3cret"),
        "{said}"
    );
    let said = refusal(&good, &["status", "--context=y"]);
    assert!(said.contains("has no context y: write one of x"), "{said}");
    let said = refusal(
        &good,
        &[
            "explain",
            "--node=a",
            "--from=10.0.0.1",
            "--to=10.96.0.1:443",
        ],
    );
    assert!(
        said.contains("https://127.0.0.1:1/ cannot be asked") && said.contains("--context"),
        "{said}"
    );
    let flag = absent.display().to_string();
    let said = refusal(&good, &["status", "--kubeconfig", &flag]);
    assert!(
        said.contains("absent"),
        "the flag goes before the environment: {said}"
    );
}

#[test]
fn a_cluster_without_sluice_is_told_from_one_that_does_not_let_you_look() {
    let Some(control_plane) = control_plane("refusals") else {
        return;
    };
    let installation = Installation::without_definitions(control_plane).unwrap();
    let admin = installation.control_plane.kubeconfig();
    let node = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}});
    installation.apply(&[node]).unwrap();
    let explain = [
        "explain",
        "--node=a",
        "--from=10.244.0.9",
        "--to=10.96.0.1:443",
    ];
    for arguments in [&["status"][..], &["diff", "--node=a"], &explain] {
        let said = refusal(&admin, arguments);
        assert!(said.contains("so Sluice is not installed in it"), "{said}");
    }
    // Before the move there is no Sluice yet.
    assert_eq!(plugin_with(&admin).run(&["migrate"]).unwrap().code, Some(0));

    installation.define().unwrap();
    let nobody = installation.control_plane.kubeconfig_of(NOBODY).unwrap();
    for (arguments, words) in [
        (&["status"][..], "you may not list serviceproxypolicies"),
        (&["diff", "--node=a"], "you may not get nodes"),
        (&explain, "you may not list nodes"),
        (&["migrate"], "you may not get configmaps"),
    ] {
        let said = refusal(&nobody, arguments);
        assert!(
            said.contains(words) && said.contains("ask for a role"),
            "{said}"
        );
    }
    let token = installation
        .control_plane
        .kubeconfig_with_token("bad", "no-token")
        .unwrap();
    let said = refusal(&token, &["status"]);
    assert!(said.contains("does not accept these credentials"), "{said}");
}

#[test]
fn an_agents_rights_are_enough_to_explain_and_what_one_may_not_see_is_a_note() {
    let Some(world) = World::up("an agent's rights") else {
        return;
    };
    world.installation.add_node("c", &[]).unwrap();
    world.tell("a", "r-2", ("True", ""));
    let agent = world.installation.agent_kubeconfig("c").unwrap();
    let plugin = plugin_with(&agent);
    let explain = [
        "explain",
        "--node=a",
        "--from=10.244.0.9",
        "--to=10.96.0.1:443",
    ];
    let said = plugin.run(&explain).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);

    // An operator may read no lease of all namespaces and no pod: that is said, and the rest too.
    let operator = world.installation.operator_kubeconfig().unwrap();
    let said = plugin_with(&operator).run(&["status"]).unwrap();
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    for words in [
        "who leads is not known: you may not list leases",
        "whether the nodes' agents run is not known: you may not list pods",
        "1 of 3 nodes are ready",
    ] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
}
