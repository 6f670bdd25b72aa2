//! How often the kernel is written.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{rule, says_with};

/// How often the kernel is written and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = SyncIntervals::rules()))]
pub struct SyncIntervals {
    /// Time from the end of one write to the start of the next, in milliseconds: changes in between become one write.
    /// 0 to 10000, and at most `fullIntervalSeconds`. Default: 50.
    #[schemars(range(min = 0, max = SyncIntervals::MAX_MIN_INTERVAL_MILLISECONDS))]
    pub min_interval_milliseconds: u32,
    /// Time between full comparisons with the kernel, in seconds, 1 to 86400. Default: 3600.
    #[schemars(range(min = 1, max = 86_400))]
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
    /// A change waits for so long: until then clients are led to endpoints that are gone.
    pub const MAX_MIN_INTERVAL_MILLISECONDS: u32 = 10_000;

    fn rules() -> [Rule; 1] {
        [rule(
            ".minIntervalMilliseconds",
            "self.minIntervalMilliseconds <= self.fullIntervalSeconds * 1000",
            says_with(
                "%d ms is longer than fullIntervalSeconds (%d s): make it shorter",
                &["self.minIntervalMilliseconds", "self.fullIntervalSeconds"],
            ),
        )]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.field("fullIntervalSeconds", |c| {
            c.within(self.full_interval_seconds, 1..=86_400);
        });
        c.field("minIntervalMilliseconds", |c| {
            c.within(
                self.min_interval_milliseconds,
                0..=Self::MAX_MIN_INTERVAL_MILLISECONDS,
            );
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
