//! What a policy's status says, and what of a change of it a person is told. Pure.

mod events;

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sluice_crds::v1alpha1::conditions::{ACCEPTED, READY, RECONCILING, STALLED};
use sluice_crds::v1alpha1::{ModeCount, ServiceProxyPolicyStatus};

use crate::objects::Policy;
use crate::resolve::Overridden;
use crate::rollout::{Outcome, State};

pub use events::{Event, events};

/// So many nodes are named; of the rest only how many.
const NAMED: usize = 3;
/// `Auto` gives nodes another data plane.
const MODE_BY_AUTO: &str = "ModeByAuto";
/// Said at the end of why a revision was rejected, as long as it is so.
const WAIT: &str = "; nodes wait, because of spec.rollout.paused";

/// What a condition says.
struct Said {
    kind: &'static str,
    is_so: bool,
    reason: &'static str,
    message: String,
}

fn said(kind: &'static str, is_so: bool, reason: &'static str, message: String) -> Said {
    Said {
        kind,
        is_so,
        reason,
        message,
    }
}

/// The status of a policy after a step.
pub fn of(
    policy: &Policy,
    outcome: &Outcome,
    overridden: Option<&Overridden>,
    now: Timestamp,
) -> ServiceProxyPolicyStatus {
    let texts = Texts {
        policy,
        outcome,
        overridden,
    };
    let conditions = [
        texts.accepted(),
        texts.ready(),
        texts.reconciling(),
        texts.stalled(),
    ];
    let text = |name: &Arc<str>| name.to_string();
    ServiceProxyPolicyStatus {
        observed_generation: Some(policy.generation),
        matched_nodes: Some(number(outcome.matched)),
        updated_nodes: Some(number(outcome.updated)),
        ready_nodes: Some(number(outcome.ready)),
        modes: outcome
            .modes
            .iter()
            .map(|&(mode, nodes)| ModeCount {
                mode,
                nodes: number(nodes),
            })
            .collect(),
        current_revision: outcome.current.as_ref().map(text),
        update_revision: Some(outcome.update.to_string()),
        rejected_revision: outcome.rejected.as_ref().map(text),
        conditions: conditions
            .into_iter()
            .map(|said| condition(policy, said, now))
            .collect(),
    }
}

/// The status of a policy that cannot be used, with so many nodes that have an earlier state of it.
pub fn of_invalid(
    policy: &Policy,
    problem: &str,
    nodes: usize,
    now: Timestamp,
) -> ServiceProxyPolicyStatus {
    let message = format!("{problem}; {nodes} nodes keep what they have of it until it is mended");
    let conditions = [
        said(ACCEPTED, false, "Invalid", message.clone()),
        said(READY, false, "Invalid", message.clone()),
        said(RECONCILING, false, "Invalid", "nothing is moved".to_owned()),
        said(STALLED, true, "Invalid", message),
    ];
    ServiceProxyPolicyStatus {
        observed_generation: Some(policy.generation),
        matched_nodes: Some(number(nodes)),
        conditions: conditions
            .into_iter()
            .map(|said| condition(policy, said, now))
            .collect(),
        ..policy.status.clone()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn condition(policy: &Policy, said: Said, now: Timestamp) -> Condition {
    let status = if said.is_so { "True" } else { "False" };
    let mut written = policy.status.conditions.iter();
    let before = written.find(|c| c.type_ == said.kind && c.status == status);
    Condition {
        type_: said.kind.to_owned(),
        status: status.to_owned(),
        reason: said.reason.to_owned(),
        message: said.message,
        observed_generation: Some(policy.generation),
        last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

struct Texts<'a> {
    policy: &'a Policy,
    outcome: &'a Outcome,
    overridden: Option<&'a Overridden>,
}

impl Texts<'_> {
    fn accepted(&self) -> Said {
        match self.overridden {
            Some(overridden) if self.outcome.matched == 0 => {
                let message = format!(
                    "it counts for none of the {} nodes that it selects: {}",
                    overridden.lost, overridden.reason
                );
                said(ACCEPTED, false, "Overridden", message)
            }
            Some(overridden) => {
                let message = format!(
                    "it does not count for {} of the {} nodes that it selects: {}",
                    overridden.lost, overridden.selected, overridden.reason
                );
                said(ACCEPTED, true, "PartlyOverridden", message)
            }
            None if self.outcome.matched == 0 => {
                let message =
                    "it selects no node: compare nodeSelector with the nodes' labels".to_owned();
                said(ACCEPTED, true, "NoNodes", message)
            }
            None => {
                let message = "it counts for every node that it selects".to_owned();
                said(ACCEPTED, true, "Accepted", message)
            }
        }
    }

    /// How many nodes are where, in words.
    fn counts(&self) -> String {
        let outcome = self.outcome;
        let mut words = format!(
            "{} of {} nodes are ready, {} have {}",
            outcome.ready, outcome.matched, outcome.updated, outcome.update
        );
        // Writing to a string does not fail.
        if outcome.unreachable > 0 {
            let _ = write!(
                words,
                "; {} cannot be reached and follow when they are back",
                outcome.unreachable
            );
        }
        if outcome.silent > 0 {
            let _ = write!(words, "; on {} no agent has reported yet", outcome.silent);
        }
        words
    }

    fn ready(&self) -> Said {
        let counts = self.counts();
        match self.outcome.state {
            State::Ready if self.outcome.matched == 0 => said(
                READY,
                true,
                "NoNodes",
                "there is no node to move".to_owned(),
            ),
            State::Ready => said(READY, true, "AllNodesReady", counts),
            State::Moving { .. } => said(READY, false, "Reconciling", counts),
            State::Paused { .. } => said(READY, false, "Paused", counts),
            State::Stuck => said(READY, false, "NodesNotReady", counts),
            State::RolledBack { .. } => said(READY, false, "RolledBack", counts),
        }
    }

    /// What moves, and why where no edit of the policy says that.
    fn moving(&self, behind: usize) -> Said {
        let changes = &self.outcome.mode_changes;
        let change_mode: usize = changes.iter().map(|change| change.nodes).sum();
        let to_be_told = behind.saturating_sub(change_mode);
        let is_by_auto = change_mode > 0 && to_be_told == 0;
        let mut words: Vec<String> = self.on_their_way().into_iter().collect();
        if !is_by_auto {
            words.push(format!(
                "{to_be_told} still to be told {}",
                self.outcome.update
            ));
        }
        words.extend(changes.iter().map(ToString::to_string));
        let reason = if is_by_auto {
            MODE_BY_AUTO
        } else {
            "MovingNodes"
        };
        said(RECONCILING, true, reason, words.join("; "))
    }

    fn on_their_way(&self) -> Option<String> {
        let names = &self.outcome.on_their_way;
        let named: Vec<&str> = names.iter().take(NAMED).map(|name| &**name).collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!named.is_empty()).then(|| format!("on their way: {}{more}", named.join(", ")))
    }

    fn reconciling(&self) -> Said {
        match self.outcome.state {
            State::Moving { behind } => self.moving(behind),
            State::RolledBack { is_under_way: true } => said(
                RECONCILING,
                true,
                "RollingBack",
                format!("nodes go back to {}", self.outcome.update),
            ),
            State::Paused { behind } => {
                let message = format!("spec.rollout.paused: {behind} nodes stay as they are");
                said(RECONCILING, false, "Paused", message)
            }
            State::Ready | State::Stuck | State::RolledBack { .. } => said(
                RECONCILING,
                false,
                "Settled",
                "nothing is being moved".to_owned(),
            ),
        }
    }

    fn stalled(&self) -> Said {
        let Some(failure) = &self.outcome.stalled else {
            return said(
                STALLED,
                false,
                "Progressing",
                "nothing is in the way".to_owned(),
            );
        };
        let Some(rejected) = &self.outcome.rejected else {
            let message = format!("{}; mend the nodes, or change the policy", failure.message);
            return said(STALLED, true, failure.reason, message);
        };
        let wait = match self.outcome.state {
            State::Paused { .. } => WAIT,
            _ => "",
        };
        if failure.message.is_empty() {
            // Why it failed was said when it did, and the nodes that said it have gone back since.
            let mut written = self.policy.status.conditions.iter();
            let earlier = written.find(|c| c.type_ == STALLED && c.status == "True");
            if let Some(earlier) = earlier.filter(|earlier| earlier.reason == "RolledBack") {
                let why = &earlier.message;
                let why = why.strip_suffix(WAIT).unwrap_or(why);
                return said(STALLED, true, "RolledBack", format!("{why}{wait}"));
            }
        }
        let why = if failure.message.is_empty() {
            "see the events".to_owned()
        } else {
            failure.message.clone()
        };
        let message = format!(
            "{rejected} failed and nodes go back to {}: {why}. It is not tried again before the policy's spec is edited{wait}",
            self.outcome.update
        );
        said(STALLED, true, "RolledBack", message)
    }
}

/// The new status says something else.
pub fn is_news(new: &ServiceProxyPolicyStatus, old: &ServiceProxyPolicyStatus) -> bool {
    new != old
}

#[cfg(test)]
mod tests;
