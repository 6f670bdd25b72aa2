//! The chart on a real API server: objects only, since there are no nodes.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use sluice_e2e::control_plane::{ControlPlane, Kubectl, Options};
use sluice_e2e::helm::{CHART, Helm};
use sluice_e2e::installation::NAMESPACE;

const CI: &str = "/ci/in-cluster.yaml";
const POLICY: &str = include_str!("../../examples/policies/auto.yaml");

/// `None`, and reported, where a program is missing.
fn start(test: &str) -> Option<(ControlPlane, Kubectl, Helm)> {
    let control_plane = ControlPlane::start_or_skip(test, &Options::default()).unwrap()?;
    let helm = Helm::find_or_skip(test)?.with_kubeconfig(&control_plane.kubeconfig());
    let kubectl = control_plane.kubectl().unwrap();
    Some((control_plane, kubectl, helm))
}

/// Runs Helm on a release in the namespace: what it says, on either stream, and whether it worked.
fn helm(helm: &Helm, arguments: &[&str]) -> (bool, String) {
    let output = helm
        .run(&[&["--namespace", NAMESPACE], arguments].concat())
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn done(program: &Helm, arguments: &[&str]) -> String {
    let (success, text) = helm(program, arguments);
    assert!(success, "{arguments:?}: {text}");
    text
}

fn values() -> String {
    format!("{CHART}{CI}")
}

/// Kinds and names of all that Sluice has in the cluster, definitions apart.
fn ours(kubectl: &Kubectl) -> String {
    let kinds =
        "daemonsets,deployments,serviceaccounts,roles,rolebindings,poddisruptionbudgets,configmaps";
    let of_namespace = ["get", kinds, "--namespace", NAMESPACE, "--output", "name"];
    let of_none = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let text = kubectl.run(&of_namespace).unwrap()
        + &kubectl.run(&["get", of_none, "--output", "name"]).unwrap();
    let lines = text.lines().filter(|line| line.contains("sluice"));
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_and_removed_and_policies_stay() {
    let Some((control_plane, kubectl, program)) = start("the life of a release") else {
        return;
    };
    let values = values();
    let install = |name: &'static str| {
        [
            "install",
            name,
            CHART,
            "--create-namespace",
            "--values",
            &values,
        ]
        .map(str::to_owned)
    };
    let first = install("sluice");
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let notes = done(&program, &first);
    assert!(notes.contains("Wait until every node is served"), "{notes}");
    assert!(!notes.contains("WARNING: kube-proxy runs"), "{notes}");
    let installed = ours(&kubectl);
    assert_eq!(installed.lines().count(), 13, "{installed}");

    // A cluster has one Sluice: another release would take its objects.
    let second = install("other");
    let second: Vec<&str> = second.iter().map(String::as_str).collect();
    let (success, words) = helm(&program, &second);
    assert!(!success && words.contains("sluice"), "{words}");

    // Definitions upgrade with the chart, whatever became of them. By force, since the field is the patch's now.
    let spoil = [
        "patch",
        "crd",
        "serviceproxypolicies.sluice.dev",
        "--type=json",
        "--patch",
        r#"[{"op": "replace", "path": "/spec/names/shortNames", "value": ["old"]}]"#,
    ];
    kubectl.run(&spoil).unwrap();
    kubectl
        .run_with_input(&["apply", "-f", "-"], POLICY)
        .unwrap();
    let upgrade = |more: &[&'static str]| -> String {
        let fixed = [
            "upgrade",
            "sluice",
            CHART,
            "--values",
            &values,
            "--force-conflicts",
        ];
        done(&program, &[&fixed[..], more].concat())
    };
    upgrade(&["--set", "agent.mode=IPVS", "--set", "operator.replicas=3"]);
    let names = [
        "get",
        "crd",
        "serviceproxypolicies.sluice.dev",
        "-o",
        "jsonpath={.spec.names.shortNames[0]}",
    ];
    assert_eq!(kubectl.run(&names).unwrap(), "spp");
    let arguments = [
        "get",
        "daemonset/sluice-agent",
        "--namespace",
        NAMESPACE,
        "-o",
        "jsonpath={.spec.template.spec.containers[0].args}",
    ];
    assert!(kubectl.run(&arguments).unwrap().contains("--mode=ipvs"));
    done(&program, &["rollback", "sluice", "1"]);
    assert!(kubectl.run(&arguments).unwrap().contains("--mode=auto"));

    // On the way out.
    let notes = upgrade(&["--set", "cleanup=true"]);
    assert!(
        notes.contains("helm uninstall sluice --namespace sluice-system"),
        "{notes}"
    );
    assert!(kubectl.run(&arguments).unwrap().contains("--stay"));
    let notes = done(&program, &["uninstall", "sluice"]);
    assert!(notes.contains("CustomResourceDefinition"), "{notes}");
    assert_eq!(ours(&kubectl), "");
    let policies = kubectl.run(&["get", "spp", "--output", "name"]).unwrap();
    assert_eq!(policies.trim(), "serviceproxypolicy.sluice.dev/default");

    // And back: the definitions are there already.
    done(&program, &first);
    assert_eq!(ours(&kubectl), installed);
    drop(control_plane);
}

#[test]
fn the_api_server_takes_every_object_and_knows_every_field() {
    let Some((_control_plane, kubectl, program)) = start("objects of the chart") else {
        return;
    };
    kubectl.run(&["create", "namespace", NAMESPACE]).unwrap();
    for case in ["in-cluster", "everything", "small", "cleanup"] {
        let values = format!("{CHART}/ci/{case}.yaml");
        // The kinds of the Prometheus operator are not there.
        let template = [
            "template",
            "sluice",
            CHART,
            "--values",
            &values,
            "--set",
            "monitoring.podMonitor.enabled=false",
            "--set",
            "monitoring.prometheusRule.enabled=false",
        ];
        let output = program
            .run(&[&["--namespace", NAMESPACE], &template[..]].concat())
            .unwrap();
        let rendered = String::from_utf8(output.stdout).unwrap();
        let apply = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--namespace",
            NAMESPACE,
            "-f",
            "-",
        ];
        let answer = kubectl.answer(&apply, &rendered).unwrap();
        assert!(answer.status.success(), "{case}: {}", answer.stderr);
        let taken = answer.stdout.lines().count();
        assert!(taken >= 14, "{case}: {}", answer.stdout);
    }
}

#[test]
fn a_cluster_with_kube_proxy_is_warned_of_and_not_refused() {
    let Some((_control_plane, kubectl, program)) = start("a warning of kube-proxy") else {
        return;
    };
    let kube_proxy = r#"{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]}}}}"#;
    let apply = ["apply", "--server-side", "-f", "-"];
    kubectl.run_with_input(&apply, kube_proxy).unwrap();
    let values = values();
    let install = |more: &[&str]| {
        let fixed = [
            "upgrade",
            "--install",
            "sluice",
            CHART,
            "--create-namespace",
            "--values",
            &values,
        ];
        done(&program, &[&fixed[..], more].concat())
    };
    // It is on no node: a node selector has put it away.
    let notes = install(&[]);
    assert!(!notes.contains("kube-proxy runs"), "{notes}");

    let scheduled = [
        "patch",
        "daemonset/kube-proxy",
        "--namespace=kube-system",
        "--subresource=status",
        "--type=merge",
        r#"--patch={"status": {"desiredNumberScheduled": 3}}"#,
    ];
    kubectl.run(&scheduled).unwrap();
    let warning = "WARNING: kube-proxy runs in this cluster";
    let ports = "--set agent.healthPort=20256 --set agent.metrics.port=20249";
    let notes = install(&[]);
    assert!(notes.contains(warning), "{notes}");
    let first = notes.find(ports).unwrap_or_else(|| panic!("{notes}"));
    assert!(notes.find("rollout status") > Some(first), "{notes}");

    let others: Vec<&str> = ports.split(' ').collect();
    let notes = install(&others);
    assert!(notes.contains(warning), "{notes}");
    assert!(!notes.contains(ports), "{notes}");
}

#[test]
fn definitions_that_a_release_left_go_to_another_one_where_helm_is_told_so() {
    let Some((_control_plane, kubectl, program)) = start("definitions of another release") else {
        return;
    };
    let values = values();
    let install = |name: &'static str, more: &[&'static str]| -> (bool, String) {
        let fixed = [
            "install",
            name,
            CHART,
            "--create-namespace",
            "--values",
            &values,
        ];
        helm(&program, &[&fixed[..], more].concat())
    };
    let (success, words) = install("sluice", &[]);
    assert!(success, "{words}");
    done(&program, &["uninstall", "sluice"]);

    let elsewhere = ["--namespace", "elsewhere"];
    let (success, words) = install("other", &elsewhere);
    let told = "CustomResourceDefinition \"nodeserviceproxies.sluice.dev\"";
    assert!(!success && words.contains(told), "{words}");
    let (success, words) = install("other", &[&elsewhere[..], &["--take-ownership"]].concat());
    assert!(success, "{words}");
    let owner = r"jsonpath={.metadata.annotations.meta\.helm\.sh/release-name}";
    let definition = "crd/nodeserviceproxies.sluice.dev";
    let owner = kubectl.run(&["get", definition, "-o", owner]).unwrap();
    assert_eq!(owner, "other");
}
