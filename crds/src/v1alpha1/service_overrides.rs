//! What some services want else than the others.

use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::ipvs::check_scheduler;
use super::label_selector::LabelSelector;

/// What some services want else than the others. The first row that matches a service counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceOverride {
    /// Labels of the services that the row matches. Default: `{}`, all.
    #[serde(default)]
    pub selector: LabelSelector,
    /// Namespaces of the services that the row matches. Default: all.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Their scheduler in place of `spec.ipvs.scheduler`.
    pub ipvs_scheduler: String,
}

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

    /// Rows after one that matches everything would never count.
    pub(super) fn check_order(rows: &[Self], c: &mut Checker) {
        c.catch_all_last(
            "serviceOverrides",
            rows,
            Self::matches_all,
            "without selector and namespaces it matches every service, so the rows after it never count: make it the last one",
        );
    }
}
