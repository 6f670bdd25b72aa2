//! Tells of drift, each object once until it is repaired.

use std::collections::BTreeSet;

use crate::data_plane::Drift;

/// Objects named one by one; of more, the number is told.
const NAMED: usize = 20;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct DriftLog {
    told: BTreeSet<String>,
}

impl DriftLog {
    /// Logs what is new among the drift found now.
    pub(super) fn found(&mut self, drift: &[Drift]) {
        let fresh: Vec<_> = drift
            .iter()
            .filter(|one| self.told.insert(one.object.clone()))
            .collect();
        for one in fresh.iter().take(NAMED) {
            tracing::warn!(
                object = one.object,
                what = one.what,
                "changed by somebody else"
            );
        }
        if let Some(more @ 1..) = fresh.len().checked_sub(NAMED) {
            tracing::warn!(objects = more, "and more were changed by somebody else");
        }
    }

    /// Everything is as it should be.
    pub(super) fn repaired(&mut self) {
        if !self.told.is_empty() {
            tracing::info!(objects = self.told.len(), "repaired");
            self.told.clear();
        }
    }

    /// The first objects in words, for a report.
    pub(super) fn summary(drift: &[Drift]) -> String {
        let first = drift.first().map(ToString::to_string).unwrap_or_default();
        match drift.len() {
            0 | 1 => first,
            many => format!("{first}, and {} more", many - 1),
        }
    }
}
