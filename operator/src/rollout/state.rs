//! Where a rollout stands.

use std::fmt::Write as _;

use super::member::Member;
use crate::objects::Answer;

/// So many nodes are named; of the rest only how many.
const NAMED: usize = 3;

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Every node that can be reached, and that has an agent, has the newest revision and is ready.
    Ready,
    /// Nodes are on their way.
    Moving {
        /// Those that have not been told yet.
        behind: usize,
    },
    /// Somebody has paused it.
    Paused {
        /// Those that have not been told.
        behind: usize,
    },
    /// Nodes do not get ready, and there is nothing to go back to, or nobody wants that.
    Stuck,
    /// The newest revision failed; nodes have what they had before.
    RolledBack {
        /// Not all of them yet.
        is_under_way: bool,
    },
}

/// Why a revision does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A word for it.
    pub reason: &'static str,
    /// Which nodes, and what their agents say; empty where that was told before.
    pub message: String,
}

impl Failure {
    /// One that was told when it happened.
    pub(super) fn earlier() -> Self {
        Self {
            reason: "RolledBack",
            message: String::new(),
        }
    }

    pub(super) fn of(failed: &[&Member<'_>]) -> Self {
        let cannot = failed.iter().any(|m| m.answer() == Answer::Unsupported);
        let mut message = String::new();
        for (index, member) in failed.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let why = match member.message() {
                _ if member.has_vanished() => {
                    "it is not ready as a node since shortly after it was told: look at its kubelet and at its network"
                }
                "" => "its agent does not answer: look at the agent's pod on that node",
                why => why,
            };
            // Writing to a string does not fail.
            let _ = write!(message, "{separator}node {}: {why}", member.node.name);
        }
        if failed.len() > NAMED {
            let _ = write!(message, "; and {} more", failed.len() - NAMED);
        }
        Self {
            reason: if cannot {
                "NodeCannotRunIt"
            } else {
                "ProgressDeadlineExceeded"
            },
            message,
        }
    }
}
