//! What a node was told, and what its agent says that it does. Pure.

use serde::Serialize;
use sluice_crds::v1alpha1::NodeServiceProxy;
use sluice_crds::v1alpha1::conditions::{HEALTHY, PROGRAMMED, SUPPORTED};

/// One thing, on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// What it is.
    pub(super) what: &'static str,
    /// What it should be.
    pub(super) wanted: String,
    /// What it is by the agent's word.
    pub(super) said: String,
    /// Both are the same.
    pub(super) same: bool,
}

pub(super) fn told(proxy: Option<&NodeServiceProxy>) -> Vec<Told> {
    let Some(proxy) = proxy else {
        return vec![Told {
            what: "NodeServiceProxy",
            wanted: "there is one".to_owned(),
            said: "there is none: no operator has told the node how to serve".to_owned(),
            same: false,
        }];
    };
    let status = proxy.status.clone().unwrap_or_default();
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "nothing yet".to_owned());
    let row = |what, wanted: String, said: String| Told {
        same: wanted == said,
        what,
        wanted,
        said,
    };
    let mut rows = vec![
        row(
            "revision",
            proxy.spec.revision.clone(),
            or_nothing(status.observed_revision),
        ),
        row(
            "mode",
            proxy.spec.mode.to_string(),
            or_nothing(status.active_mode.map(|mode| mode.to_string())),
        ),
    ];
    for kind in [SUPPORTED, PROGRAMMED, HEALTHY] {
        let condition = status.conditions.iter().find(|one| one.type_ == kind);
        let said = condition.map(|one| {
            let is_old = one.observed_generation != proxy.metadata.generation;
            match (one.status.as_str(), is_old) {
                ("True", false) => "True".to_owned(),
                ("True", true) => "True, of settings before these".to_owned(),
                (status, _) => format!("{status}, {}: {}", one.reason, one.message),
            }
        });
        rows.push(row(kind, "True".to_owned(), or_nothing(said)));
    }
    rows
}
