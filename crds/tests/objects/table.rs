//! The table: objects, and what an API server says of each. It is data, and `e2e/tests/kube_definitions.rs` puts the same rows
//! to a real one: there a refusal's field and words are those of a cause in the answer (`details.causes`; causes without a
//! field are about the check itself), those without a field are in its message, and a status goes to the subresource.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

/// An object, and what is said of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// What it is about.
    pub(crate) name: String,
    /// `spec` of a `ServiceProxyPolicy`,
    policy: Option<Value>,
    /// or of a `NodeServiceProxy`,
    node: Option<Value>,
    /// or the whole object.
    object: Option<Value>,
    /// Its status.
    status: Option<Value>,
    /// Refusals of the API server: field and words. None: it is accepted.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, String>,
    /// What the agent says of the same object, where it is not what the API server says.
    pub(crate) agent: Option<Judgement>,
}

/// Of an object as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Judgement {
    Accepts,
    Refuses,
}

impl Row {
    /// The object.
    pub(crate) fn object(&self) -> Value {
        let (kind, spec) = match (&self.object, &self.policy, &self.node) {
            (Some(object), None, None) => return object.clone(),
            (None, Some(spec), None) => ("ServiceProxyPolicy", spec),
            (None, None, Some(spec)) => ("NodeServiceProxy", spec),
            _ => panic!("{}: a row has one of object, policy and node", self.name),
        };
        let mut object = json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "row"},
            "spec": spec,
        });
        if let Some(status) = &self.status {
            object["status"] = status.clone();
        }
        object
    }
}

/// All rows of the folder, which is that of this file.
pub(crate) fn rows(folder: &Path) -> Vec<Row> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| -> Vec<Row> {
        let text = std::fs::read_to_string(path).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.iter().flat_map(read).collect()
}
