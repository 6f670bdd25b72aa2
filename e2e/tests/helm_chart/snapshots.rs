//! The rendering is as committed.

use std::path::Path;

use crate::rendering::{CASES, NAMESPACE, case, chart_file, helm, objects};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/helm_chart/snapshots");
/// Set, it writes the snapshots anew.
const RENEW: &str = "SLUICE_RENEW_SNAPSHOTS";

/// Definitions are files that are rendered as they are; thousands of lines of them hide what changed.
fn without_definitions(text: &str) -> String {
    let documents = text.split("\n---\n");
    let others = documents.filter(|text| !text.contains("\nkind: CustomResourceDefinition\n"));
    let others: Vec<&str> = others.collect();
    others.join("\n---\n").trim_end().to_owned() + "\n"
}

#[test]
fn what_is_rendered_is_as_committed() {
    let Some(helm) = helm("snapshots of the chart") else {
        return;
    };
    for name in CASES {
        let text = without_definitions(&case(&helm, name));
        let path = Path::new(DIRECTORY).join(format!("{name}.yaml"));
        if std::env::var_os(RENEW).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = text.lines().zip(committed.lines()).enumerate();
        let difference = lines.find(|(_, (rendered, committed))| rendered != committed);
        assert!(
            text == committed,
            "{} is not what the chart renders; first difference: {difference:?}. Renew it by {RENEW}=1 make test-chart, and read the diff",
            path.display()
        );
    }
}

#[test]
fn files_are_rendered_as_they_are() {
    let Some(helm) = helm("files in the chart") else {
        return;
    };
    let rendered = [case(&helm, "in-cluster"), case(&helm, "everything")];
    let rendered: Vec<_> = rendered.iter().flat_map(|text| objects(text)).collect();
    for file in [
        "files/agent-role.yaml",
        "files/operator-role.yaml",
        "files/operator-taint-role.yaml",
        "files/agent-admission.yaml",
    ] {
        for mut object in objects(&chart_file(file)) {
            if object["kind"] == "Role" {
                object["metadata"]["namespace"] = NAMESPACE.into();
            }
            assert!(rendered.contains(&object), "{file}: {object}");
        }
    }
    for file in ["nodeserviceproxies", "serviceproxypolicies"] {
        let mut definition = objects(&chart_file(&format!("files/crds/{file}.yaml"))).remove(0);
        definition["metadata"]["annotations"] =
            serde_json::json!({"helm.sh/resource-policy": "keep"});
        assert!(rendered.contains(&definition), "{file}");
    }
}
