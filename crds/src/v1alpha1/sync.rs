//! How often the kernel is written.

use serde::{Deserialize, Serialize};

use super::invalid::Checker;

/// How often the kernel is written and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncIntervals {
    /// Time from the end of one write to the start of the next, in milliseconds: changes in between become one write. Default: 50.
    pub min_interval_milliseconds: u32,
    /// Time between full comparisons with the kernel, in seconds. Default: 3600.
    pub full_interval_seconds: u32,
}

impl Default for SyncIntervals {
    fn default() -> Self {
        Self {
            min_interval_milliseconds: 50,
            full_interval_seconds: 3600,
        }
    }
}

impl SyncIntervals {
    pub(super) fn check(&self, c: &mut Checker) {
        c.field("fullIntervalSeconds", |c| {
            c.within(self.full_interval_seconds, 1..=86_400);
        });
        c.field("minIntervalMilliseconds", |c| {
            if u64::from(self.min_interval_milliseconds)
                > u64::from(self.full_interval_seconds) * 1000
            {
                c.wrong(format!(
                    "{} ms is longer than fullIntervalSeconds ({} s): make it shorter",
                    self.min_interval_milliseconds, self.full_interval_seconds
                ));
            }
        });
    }
}
