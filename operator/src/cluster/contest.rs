//! Objects that somebody else writes too. What the operator wrote and finds undone it writes again, at once for the first time, then at longer and
//! longer intervals: two that put each other right would else keep the API server and the node busy for ever. Pure.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde::Serialize;
use siphasher::sip::SipHasher13;

use super::Kind;
use crate::plan::{NodeWrite, Plan, StatusWrite};

/// Between a write and the first time that it is done again; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// What was written so long ago counts as written for the first time.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// An object by kind and name.
type Key = (Kind, Arc<str>);

#[derive(Debug)]
struct Bout {
    content: u64,
    at: Instant,
    /// How often it was written again.
    again: u32,
}

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Contest(HashMap<Key, Bout>);

impl Contest {
    /// Takes out of a plan what is not to be written again yet; tells when the first of it is.
    pub(super) fn hold_back(&mut self, plan: &mut Plan, now: Instant) -> Option<Instant> {
        self.0
            .retain(|_, bout| now.duration_since(bout.at) < FORGOTTEN);
        let mut first: Option<Instant> = None;
        let mut is_due = |kind, name: &Arc<str>, content| {
            let due = self.due(&(kind, Arc::clone(name)), content);
            let waits = due.filter(|due| *due > now);
            first = first.into_iter().chain(waits).min();
            waits.is_none()
        };
        plan.statuses
            .retain(|write| is_due(Kind::Policy, &write.policy, of_status(write)));
        plan.nodes
            .retain(|write| is_due(Kind::Proxy, &write.node, of_node(write)));
        first
    }

    fn due(&self, key: &Key, content: u64) -> Option<Instant> {
        let bout = self.0.get(key).filter(|bout| bout.content == content)?;
        let rest = FIRST.saturating_mul(1 << bout.again.min(16)).min(LONGEST);
        Some(bout.at + rest)
    }

    /// It was written; tells how often the same was written before, without anything else in between.
    pub(super) fn wrote(&mut self, kind: Kind, name: &Arc<str>, content: u64, now: Instant) -> u32 {
        let key = (kind, Arc::clone(name));
        let before = self.0.get(&key).filter(|bout| bout.content == content);
        let again = before.map_or(0, |bout| bout.again.saturating_add(1));
        let at = now;
        self.0.insert(key, Bout { content, at, again });
        again
    }
}

/// What a write means, whenever it is done.
pub(super) fn of_node(write: &NodeWrite) -> u64 {
    hash(&(&write.uid, &write.spec))
}

/// The same for a status.
pub(super) fn of_status(write: &StatusWrite) -> u64 {
    let mut status = write.status.clone();
    for condition in &mut status.conditions {
        // Where conditions were wiped, they begin anew.
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    hash(&(&write.uid, &status))
}

fn hash(content: &impl Serialize) -> u64 {
    let mut hasher = SipHasher13::new();
    // Fields come in the order of the type. A type that cannot be written would be a bug; all such are the same then.
    serde_json::to_vec(content)
        .unwrap_or_default()
        .hash(&mut hasher);
    hasher.finish()
}

/// Who else has written this part of an object last: `f:spec`, `f:status`.
pub(super) fn another_writer(metadata: &ObjectMeta, part: &str, us: &str) -> Option<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        entry.manager.as_deref() != Some(us)
            && fields.is_some_and(|fields| fields.0.get(part).is_some())
    });
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}

#[cfg(test)]
mod tests;
