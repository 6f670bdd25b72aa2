//! What some services want else than the others.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::ipvs::{SCHEDULERS, check_scheduler};
use super::label_selector::LabelSelector;
use super::schema::{catch_all_last, names, says};

/// What some services want else than the others. The first row that matches a service counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceOverride {
    /// Labels of the services that the row matches. Default: `{}`, all.
    #[serde(default)]
    pub selector: LabelSelector,
    /// Namespaces of the services that the row matches. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    pub namespaces: Vec<String>,
    /// Their scheduler in place of `spec.ipvs.scheduler`, one of those that it may be.
    #[schemars(extend("enum" = SCHEDULERS))]
    pub ipvs_scheduler: String,
}

/// Of a row before the last one.
const NEVER_COUNT: &str =
    "matches every service, so the rows after it never count: make it the last one";

impl ServiceOverride {
    pub(super) fn check(&self, c: &mut Checker) {
        c.field("selector", |c| self.selector.check(c));
        c.no_duplicates("namespaces", &self.namespaces);
        c.field("ipvsScheduler", |c| {
            check_scheduler(&self.ipvs_scheduler, c);
        });
    }

    /// Matches every service.
    fn matches_all(&self) -> bool {
        self.selector.is_everything() && self.namespaces.is_empty()
    }

    /// Rules for the list.
    pub(super) fn list_rules() -> [Rule; 1] {
        let none = |list: &str| format!("(!has({list}) || {list}.size() == 0)");
        let all = |row: &str| {
            format!(
                "{row}.namespaces.size() == 0 && {} && {}",
                none(&format!("{row}.selector.matchLabels")),
                none(&format!("{row}.selector.matchExpressions"))
            )
        };
        [catch_all_last(
            all,
            says(format_args!(
                "a row without selector and namespaces {NEVER_COUNT}"
            )),
        )]
    }

    /// Rows after one that matches everything would never count.
    pub(super) fn check_order(rows: &[Self], c: &mut Checker) {
        c.catch_all_last(
            "serviceOverrides",
            rows,
            Self::matches_all,
            &format!("without selector and namespaces it {NEVER_COUNT}"),
        );
    }
}
