//! Both comparisons, and what is run in a pod.

#![allow(clippy::panic)] // Helpers of tests fail as tests do.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use sluice_crds::v1alpha1::NodeServiceProxy;

use super::kernel::{Kernel, command, judge, no_pod};
use super::report::DiffReport;
use super::told::told;
use crate::style::Style;

fn proxy(observed: &str, mode: &str, generation: i64) -> NodeServiceProxy {
    let good = ["Supported", "Programmed", "Healthy"].map(|kind| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-11-01T00:00:00Z",
        })
    });
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": "a", "generation": 2},
        "spec": {"policy": "p", "policyGeneration": 1, "revision": "r-2", "mode": "IPVS", "settings": {}},
        "status": {"observedRevision": observed, "activeMode": mode, "conditions": good},
    }))
    .unwrap()
}

fn report(proxy: Option<&NodeServiceProxy>, kernel: Option<Kernel>) -> DiffReport {
    DiffReport {
        node: "a".to_owned(),
        told: told(proxy),
        kernel,
    }
}

#[test]
fn a_node_that_does_what_it_was_told_differs_in_nothing() {
    let report = report(Some(&proxy("r-2", "IPVS", 2)), Some(Kernel::Same));
    assert!(report.is_known() && !report.differs());
    assert_eq!(
        report.text(Style::PLAIN),
        "\
a: what it was told, and what its agent says
  same    revision: r-2
  same    mode: IPVS
  same    Supported: True
  same    Programmed: True
  same    Healthy: True
What its kernel holds
  same    what is wanted, line by line
"
    );
}

#[test]
fn revision_mode_and_old_conditions_differ() {
    let report = report(Some(&proxy("r-1", "IPTables", 1)), None);
    let text = report.text(Style::PLAIN);
    for line in [
        "differs revision: r-2 is wanted; r-1",
        "differs mode: IPVS is wanted; IPTables",
        "differs Programmed: True is wanted; True, of settings before these",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(report.differs() && !text.contains("kernel"));
}

#[test]
fn a_node_that_was_told_nothing_differs() {
    let report = report(None, None);
    assert!(report.differs());
    assert!(
        report
            .text(Style::PLAIN)
            .contains("no operator has told the node")
    );
}

#[test]
fn what_the_kernel_holds_is_told_by_how_the_command_ended() {
    assert_eq!(judge(Some(0), "", "", ""), Kernel::Same);
    let different = judge(
        Some(1),
        "exit code 1",
        "@@ set SLUICE-4-OWN-IP @@\n-add 10.0.0.9\n",
        "",
    );
    let whole = report(Some(&proxy("r-2", "IPVS", 2)), Some(different));
    assert!(whole.differs() && whole.is_known());
    assert!(whole.text(Style::PLAIN).contains("\n  -add 10.0.0.9\n"));
    let json = serde_json::to_value(&whole).unwrap();
    assert_eq!(json["kernel"]["result"], "Different");
    assert_eq!(json["kernel"]["lines"][1], "-add 10.0.0.9");
    let unknown = judge(
        Some(2),
        "exit code 2",
        "",
        "a line\nsluice-agent: no answer\n\n",
    );
    let whole = report(Some(&proxy("r-2", "IPVS", 2)), Some(unknown));
    assert!(!whole.is_known());
    assert!(
        whole
            .text(Style::PLAIN)
            .contains("(exit code 2): sluice-agent: no answer")
    );
    // Nothing ran.
    let Kernel::Unknown { message } = judge(None, "connection refused", "", "") else {
        panic!("nothing ran");
    };
    assert!(message.contains("(connection refused): see that the node's kubelet answers"));
    // Nothing came, however it ended: the stream was cut off.
    assert!(matches!(judge(Some(1), "", "", ""), Kernel::Unknown { .. }));
}

#[test]
fn the_pod_is_told_what_its_agent_was_told() {
    let pod = |containers| -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "s"}, "spec": {"containers": containers}})).unwrap()
    };
    let told = |pod: &Pod| command(pod, "a").join(" ");
    let plain = "sluice-agent render --diff --in-cluster --node-name a";
    let one = |args: &[&str]| {
        pod(json!([{"name": "other", "args": ["--api-server=x"]}, {"name": "agent", "args": args}]))
    };
    assert_eq!(told(&one(&["run", "--log-level=debug"])), plain);
    assert_eq!(
        told(&one(&["run", "--api-server=https://192.0.2.1:6443"])),
        format!("{plain} --api-server=https://192.0.2.1:6443")
    );
    assert_eq!(
        told(&one(&[
            "run",
            "--api-server",
            "https://192.0.2.1:6443",
            "--log-level=debug"
        ])),
        format!("{plain} --api-server https://192.0.2.1:6443")
    );
    assert_eq!(
        told(&one(&["run", "--healthz-bind-address=0.0.0.0:20256"])),
        format!("{plain} --healthz-bind-address=0.0.0.0:20256")
    );
    assert!(no_pod("a", None).contains("tolerations"));
    assert!(no_pod("a", Some(&one(&[]))).contains("kubectl -n s describe pod p"));
}
