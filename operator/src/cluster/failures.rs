//! What could not be written. It rests before it is tried again, and everything else goes on; but nodes of a policy whose revision or status could not
//! be written wait with it, and are told nothing before that is written. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::rest;

/// What is written of something that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    /// A policy's revision and its status.
    Policy,
    /// What a node is told.
    Told,
    /// That the object of a node goes.
    Gone,
    /// That a node's taint goes.
    Taint,
    /// That a revision goes.
    OldRevision,
}

pub(super) type Key = (What, Arc<str>);

#[derive(Debug)]
struct Failure {
    rest: Duration,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Key, Failure>);

impl Failures {
    /// Books what went well and what did not; tells when the first of what rests is tried again.
    pub(super) fn book(&mut self, went_well: BTreeMap<Key, bool>, now: Instant) -> Option<Instant> {
        for (key, well) in went_well {
            let before = self.0.remove(&key);
            if !well {
                let rest = before.map_or(rest::FIRST, |before| rest::doubled(before.rest));
                let until = now + rest;
                self.0.insert(key, Failure { rest, until });
            }
        }
        self.next(now)
    }

    /// Takes out of a plan what rests; tells when the first of it is tried again.
    pub(super) fn hold_back(&mut self, plan: &mut Plan, now: Instant) -> Option<Instant> {
        // Where nothing was tried for so long there is nothing to try any more.
        self.0
            .retain(|_, failure| now < failure.until + rest::LONGEST);
        let is_due = |what, name: &Arc<str>| {
            let failure = self.0.get(&(what, Arc::clone(name)));
            failure.is_none_or(|failure| failure.until <= now)
        };
        plan.revisions
            .retain(|revision| is_due(What::Policy, &revision.policy));
        plan.statuses
            .retain(|write| is_due(What::Policy, &write.policy));
        plan.nodes.retain(|write| {
            let policy = Arc::from(write.spec.policy.as_str());
            is_due(What::Policy, &policy) && is_due(What::Told, &write.node)
        });
        plan.gone.retain(|gone| is_due(What::Gone, &gone.node));
        plan.served.retain(|(node, _)| is_due(What::Taint, node));
        plan.old_revisions
            .retain(|name| is_due(What::OldRevision, name));
        self.next(now)
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        let times = self.0.values().map(|failure| failure.until);
        times.filter(|until| now < *until).min()
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1::{
        ActiveMode, NodeServiceProxySpec, ResolvedSettings, ServiceProxyPolicySpec,
        ServiceProxyPolicyStatus,
    };

    use super::*;
    use crate::plan::{NodeWrite, StatusWrite};
    use crate::revision::{Content, Revision};

    /// A revision, a status and a node of each policy.
    fn plan() -> Plan {
        let mut plan = Plan::default();
        for name in ["bad", "good"] {
            let policy: Arc<str> = Arc::from(name);
            let content = Content::of(&ServiceProxyPolicySpec::default());
            plan.revisions.push(Revision::new(&policy, 1, content));
            plan.nodes.push(NodeWrite {
                node: Arc::from(format!("node-of-{name}")),
                uid: String::new(),
                spec: NodeServiceProxySpec {
                    policy: name.to_owned(),
                    policy_generation: 1,
                    revision: format!("{name}-1"),
                    mode: ActiveMode::IPTables,
                    settings: ResolvedSettings::default(),
                },
                moved_at: None,
                mode_before: None,
            });
            plan.statuses.push(StatusWrite {
                policy,
                uid: String::new(),
                version: None,
                status: ServiceProxyPolicyStatus::default(),
                events: Vec::new(),
            });
        }
        plan
    }

    fn outcome(bad_went_well: bool) -> BTreeMap<Key, bool> {
        let key = |name| (What::Policy, Arc::from(name));
        BTreeMap::from([(key("bad"), bad_went_well), (key("good"), true)])
    }

    #[test]
    fn nothing_of_a_policy_that_failed_is_written_before_it_has_rested_and_all_of_another_is() {
        let mut failures = Failures::default();
        let begun = Instant::now();
        failures.book(outcome(false), begun);
        let mut held = plan();
        assert_eq!(
            failures.hold_back(&mut held, begun),
            Some(begun + rest::FIRST)
        );
        let mut of_good = plan();
        of_good.revisions.remove(0);
        of_good.statuses.remove(0);
        of_good.nodes.remove(0);
        assert_eq!(held, of_good);
        let mut tried = plan();
        assert_eq!(failures.hold_back(&mut tried, begun + rest::FIRST), None);
        assert_eq!(tried, plan());
    }

    #[test]
    fn the_rest_grows_with_every_failure_and_begins_anew_after_a_success() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        let mut rests = Vec::new();
        for went_well in [
            false, false, true, false, false, false, false, false, false, false, false,
        ] {
            failures.book(outcome(went_well), now);
            let until = failures.hold_back(&mut plan(), now).unwrap_or(now);
            rests.push((until - now).as_secs_f32());
            now = until;
        }
        assert_eq!(
            rests,
            [0.5, 1.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        );
    }

    #[test]
    fn a_failure_is_forgotten_where_nothing_was_tried_again() {
        let mut failures = Failures::default();
        let begun = Instant::now();
        failures.book(outcome(false), begun);
        failures.hold_back(&mut plan(), begun + rest::FIRST + rest::LONGEST);
        assert!(failures.0.is_empty());
    }
}
