//! The chart, rendered.

use std::path::PathBuf;

use serde_json::Value;
use sluice_e2e::helm::{CHART, Helm};

/// Sets of values, files of the chart's directory `ci`.
pub(crate) const CASES: [&str; 4] = ["in-cluster", "everything", "small", "cleanup"];

/// Where it is installed in all of these tests.
pub(crate) const NAMESPACE: &str = "sluice-system";

/// A file of the chart.
pub(crate) fn chart_file(path: &str) -> String {
    let path = PathBuf::from(CHART).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Helm, where there is one.
pub(crate) fn helm(test: &str) -> Option<Helm> {
    Helm::find_or_skip(test)
}

/// `helm template` with more arguments: what it renders, or what it says.
pub(crate) fn template(helm: &Helm, arguments: &[&str]) -> Result<String, String> {
    let fixed = ["template", "sluice", CHART, "--namespace", NAMESPACE];
    let output = helm.run(&[&fixed[..], arguments].concat()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Rendered with a set of values.
pub(crate) fn case(helm: &Helm, name: &str) -> String {
    let values = format!("{CHART}/ci/{name}.yaml");
    template(helm, &["--values", &values]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The objects in YAML.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|o| !o.is_null()).collect()
}

/// Kind and name, to speak of an object.
pub(crate) fn title(object: &Value) -> String {
    let word = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    format!("{} {}", word("/kind"), word("/metadata/name"))
}
