//! What of a change of a status a person is told. It goes by what was written, so nobody is told twice, whoever leads. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sluice_crds::v1alpha1::ServiceProxyPolicyStatus;
use sluice_crds::v1alpha1::conditions::{ACCEPTED, READY, RECONCILING, STALLED};

use super::MODE_BY_AUTO;

/// Something that a person would ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// It needs somebody.
    pub is_warning: bool,
    /// A word for it.
    pub reason: &'static str,
    /// What has happened.
    pub note: String,
}

/// What of the change a person is told.
pub fn events(old: &ServiceProxyPolicyStatus, new: &ServiceProxyPolicyStatus) -> Vec<Event> {
    let change = Change { old, new };
    let told = [
        change.acceptance(),
        change.rollout(),
        change.mode(),
        change.end(),
    ];
    told.into_iter().flatten().collect()
}

fn news(reason: &'static str, note: String) -> Event {
    Event {
        is_warning: false,
        reason,
        note,
    }
}

fn warning(reason: &'static str, note: String) -> Event {
    Event {
        is_warning: true,
        ..news(reason, note)
    }
}

fn condition<'a>(status: &'a ServiceProxyPolicyStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|one| one.type_ == kind)
}

fn is_so(condition: &Condition) -> bool {
    condition.status == "True"
}

struct Change<'a> {
    old: &'a ServiceProxyPolicyStatus,
    new: &'a ServiceProxyPolicyStatus,
}

impl Change<'_> {
    fn acceptance(&self) -> Option<Event> {
        let accepted = condition(self.new, ACCEPTED)?;
        let before = condition(self.old, ACCEPTED);
        if before.is_some_and(|before| before.reason == accepted.reason) {
            return None;
        }
        let note = accepted.message.clone();
        match accepted.reason.as_str() {
            "Overridden" => Some(warning("Overridden", note)),
            "PartlyOverridden" => Some(news("PartlyOverridden", note)),
            "NoNodes" => Some(warning("NoNodes", note)),
            "Invalid" => Some(warning("Invalid", note)),
            _ => None,
        }
    }

    fn rollout(&self) -> Option<Event> {
        let Self { old, new } = self;
        let stalled = condition(new, STALLED).filter(|one| one.reason != "Invalid");
        if let Some(rejected) = self.given_up() {
            let why = stalled.map_or("", |stalled| &stalled.message);
            let note = format!("{rejected} is given up: {why}");
            return Some(warning("RolloutFailed", note));
        }
        let update = new.update_revision.as_deref();
        if update != old.update_revision.as_deref() && update != new.current_revision.as_deref() {
            let matched = new.matched_nodes.unwrap_or_default();
            let update = update.unwrap_or_default();
            let note = format!("{matched} nodes are moved to {update}");
            return Some(news("RolloutStarted", note));
        }
        let stalled = stalled.filter(|stalled| is_so(stalled) && !self.was_stalled())?;
        Some(warning("RolloutStalled", stalled.message.clone()))
    }

    /// The revision that has failed: now, or again after an edit that asked for another try.
    fn given_up(&self) -> Option<&str> {
        let Self { old, new } = self;
        let is_invalid = condition(new, STALLED).is_some_and(|one| one.reason == "Invalid");
        let is_old = new.rejected_revision == old.rejected_revision
            && (new.observed_generation == old.observed_generation || is_invalid);
        new.rejected_revision.as_deref().filter(|_| !is_old)
    }

    fn was_stalled(&self) -> bool {
        condition(self.old, STALLED).is_some_and(is_so)
    }

    fn mode(&self) -> Option<Event> {
        let by_auto = |status| {
            condition(status, RECONCILING).filter(|condition| condition.reason == MODE_BY_AUTO)
        };
        let begins = by_auto(self.new).filter(|_| by_auto(self.old).is_none())?;
        Some(news(MODE_BY_AUTO, begins.message.clone()))
    }

    fn end(&self) -> Option<Event> {
        let ready = condition(self.new, READY)?;
        let before = condition(self.old, READY);
        // Nodes come, and nodes are not ready for a moment: neither is a rollout.
        let is_complete =
            self.was_stalled() || self.old.current_revision != self.new.current_revision;
        if ready.reason == "AllNodesReady" && is_complete {
            return Some(news("RolloutCompleted", ready.message.clone()));
        }
        let was_paused = before.is_some_and(|before| before.reason == "Paused");
        let is_paused = ready.reason == "Paused" && !was_paused;
        is_paused.then(|| news("RolloutPaused", ready.message.clone()))
    }
}
