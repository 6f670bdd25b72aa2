//! How a change of the policy reaches its nodes.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{INT_MAX, rule, says_with};

/// How a change of the policy reaches its nodes. It is for the operator; an agent that reads the policy itself takes a change at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = Rollout::rules()))]
pub struct Rollout {
    /// Leave every node at the revision that it has. Default: false.
    pub paused: bool,
    /// Nodes that may be on their way to a revision, or not ready, at a time, 1 to 2147483647. Default: 1.
    #[schemars(range(min = 1, max = INT_MAX))]
    pub max_unavailable: u32,
    /// How long a node must have been programmed and healthy before it counts as ready, in seconds, 0 to 86400. Default: 10.
    #[schemars(range(min = 0, max = LONGEST))]
    pub min_ready_seconds: u32,
    /// How long a node may take to become ready, in seconds, 1 to 86400 and more than `minReadySeconds`. Default: 300.
    #[schemars(range(min = 1, max = LONGEST))]
    pub progress_deadline_seconds: u32,
    /// What happens when a node is not ready in time. Default: `Rollback`.
    pub on_failure: OnFailure,
}

/// What happens when a node is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// The nodes that were moved go back to the last revision that was good.
    #[default]
    Rollback,
    /// No further node is moved; those that were stay.
    Pause,
}

/// Seconds in a day.
const LONGEST: u32 = 86_400;

impl Default for Rollout {
    fn default() -> Self {
        Self {
            paused: false,
            max_unavailable: 1,
            min_ready_seconds: 10,
            progress_deadline_seconds: 300,
            on_failure: OnFailure::default(),
        }
    }
}

impl Rollout {
    fn rules() -> [Rule; 1] {
        [rule(
            ".progressDeadlineSeconds",
            "self.progressDeadlineSeconds > self.minReadySeconds",
            says_with(
                "%d s are over before a node has been healthy for minReadySeconds (%d s), so none could be ready in time: make it longer",
                &["self.progressDeadlineSeconds", "self.minReadySeconds"],
            ),
        )]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.field("maxUnavailable", |c| {
            c.within(self.max_unavailable, 1..=INT_MAX);
        });
        c.field("minReadySeconds", |c| {
            c.within(self.min_ready_seconds, 0..=LONGEST);
        });
        c.field("progressDeadlineSeconds", |c| {
            c.within(self.progress_deadline_seconds, 1..=LONGEST);
            if self.progress_deadline_seconds <= self.min_ready_seconds {
                c.wrong(format!(
                    "{} s are over before a node has been healthy for minReadySeconds ({} s), so none could be ready in time: make it longer",
                    self.progress_deadline_seconds, self.min_ready_seconds
                ));
            }
        });
    }
}
