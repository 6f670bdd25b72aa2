//! What agents and operators may do with the roles of the chart, on a real API server: all that they need, and nothing else.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::control_plane::{Answer, ControlPlane, Kubectl, Options};
use sluice_e2e::installation::{Installation, NAMESPACE};

const PATIENCE: Duration = Duration::from_secs(60);

/// `None`, and reported, where there are no programs and no Go to build them.
fn start(test: &str) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(test, &Options::default()).unwrap()
}

fn node_service_proxy(name: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "NodeServiceProxy",
        "metadata": {"name": name},
        "spec": {"policy": "p", "policyGeneration": 1, "revision": "p-1", "mode": "IPTables", "settings": {}},
    })
}

fn status(name: &str, revision: &str) -> String {
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "NodeServiceProxy",
        "metadata": {"name": name},
        "status": {"observedRevision": revision},
    })
    .to_string()
}

/// As the agent does it.
fn write_status(kubectl: &Kubectl, node: &str, revision: &str) -> Answer {
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=sluice-agent",
        "--subresource=status",
        "-f",
        "-",
    ];
    kubectl.answer(&apply, &status(node, revision)).unwrap()
}

#[test]
fn an_agent_writes_the_status_of_its_own_node_and_of_no_other() {
    let Some(control_plane) = start("rights of an agent") else {
        return;
    };
    let installation = Installation::new(control_plane).unwrap();
    for node in ["node-a", "node-b"] {
        installation.add_node(node, &[]).unwrap();
        installation.apply(&[node_service_proxy(node)]).unwrap();
    }
    let admin = installation.kubectl();
    let agent = |kubeconfig: &Path| admin.with_kubeconfig(kubeconfig);
    let agent_a = agent(&installation.agent_kubeconfig("node-a").unwrap());

    // An admission policy counts some moments after it was made.
    let begun = Instant::now();
    let refused = loop {
        let answer = write_status(&agent_a, "node-b", "p-2");
        if !answer.status.success() || begun.elapsed() > PATIENCE {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let words = "this agent runs on node node-a and may write the status of that node only";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    let own = write_status(&agent_a, "node-a", "p-3");
    assert!(own.status.success(), "{}", own.stderr);
    let written = [
        "get",
        "nsp/node-a",
        "-o",
        "jsonpath={.status.observedRevision}",
    ];
    assert_eq!(admin.run(&written).unwrap(), "p-3");

    // A token that is not a pod's, as an intruder makes one who has found a way to ask for tokens.
    let create = ["create", "token", "sluice-agent", "--namespace", NAMESPACE];
    let token = admin.run(&create).unwrap();
    let loose = installation
        .control_plane
        .kubeconfig_with_token("loose", token.trim())
        .unwrap();
    let refused = write_status(&agent(&loose), "node-a", "p-4");
    let words = "the token does not say which node it is for";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);

    // The operator is no agent, and writes what it is to write.
    let operator = agent(&installation.operator_kubeconfig().unwrap());
    let spec = node_service_proxy("node-b").to_string();
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=sluice-operator",
        "-f",
        "-",
    ];
    let written = operator.answer(&apply, &spec).unwrap();
    assert!(written.status.success(), "{}", written.stderr);
}

/// Rights as `kubectl auth can-i --list` words them, the verbs in the order of the alphabet: where two rules give them, the API server adds up rules in
/// no order.
fn rights(kubectl: &Kubectl) -> BTreeSet<String> {
    let list = [
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "--namespace",
        NAMESPACE,
    ];
    let text = kubectl.run(&list).unwrap();
    let is_ours = |line: &&str| {
        let of_everyone = ["selfsubject", "[/", "clustertrustbundles"];
        !of_everyone.iter().any(|word| line.contains(word))
    };
    let right = |line: &str| {
        let (resource, lists) = line.split_once(char::is_whitespace)?;
        let verbs = lists.rsplit_once('[')?.1.trim_end().strip_suffix(']')?;
        let mut verbs: Vec<&str> = verbs.split_whitespace().collect();
        verbs.sort_unstable();
        Some(format!("{resource} [{}]", verbs.join(" ")))
    };
    let told = |line| right(line).unwrap_or_else(|| panic!("no right: {line}"));
    text.lines().filter(is_ours).map(told).collect()
}

#[test]
fn agents_and_operators_have_the_rights_that_they_need_and_no_others() {
    let Some(control_plane) = start("rights in a list") else {
        return;
    };
    let installation = Installation::new(control_plane).unwrap();
    installation.add_node("node-a", &[]).unwrap();
    let of = |kubeconfig: &Path| rights(&installation.kubectl().with_kubeconfig(kubeconfig));
    let expected = |lines: &[&str]| -> BTreeSet<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    };
    let agent = of(&installation.agent_kubeconfig("node-a").unwrap());
    assert_eq!(
        agent,
        expected(&[
            "services [list watch]",
            "nodes [list watch]",
            "pods [list watch]",
            "namespaces [list watch]",
            "endpointslices.discovery.k8s.io [list watch]",
            "nodeserviceproxies.sluice.dev [list watch]",
            "nodeserviceproxies.sluice.dev/status [patch]",
        ])
    );
    let operator = of(&installation.operator_kubeconfig().unwrap());
    assert_eq!(
        operator,
        expected(&[
            "nodes [list patch watch]",
            "services [list watch]",
            "serviceproxypolicies.sluice.dev [list watch]",
            "serviceproxypolicies.sluice.dev/status [patch]",
            "nodeserviceproxies.sluice.dev [create delete list patch watch]",
            "events.events.k8s.io [create]",
            "leases.coordination.k8s.io [create get update]",
            "controllerrevisions.apps [create delete list watch]",
        ])
    );
}
