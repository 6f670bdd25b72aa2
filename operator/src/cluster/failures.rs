//! Policies whose revision or status could not be written. They rest before they are tried again, and their nodes wait with them, which are told
//! nothing before that is written; other policies go on. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::rest;

#[derive(Debug)]
struct Failure {
    rest: Duration,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Arc<str>, Failure>);

impl Failures {
    /// Books what went well for which policy.
    pub(super) fn book(&mut self, went_well: BTreeMap<Arc<str>, bool>, now: Instant) {
        for (policy, well) in went_well {
            let before = self.0.remove(&policy);
            if !well {
                let rest = before.map_or(rest::FIRST, |before| rest::doubled(before.rest));
                let until = now + rest;
                self.0.insert(policy, Failure { rest, until });
            }
        }
    }

    /// Takes out of a plan what rests; tells when the first of it is tried again.
    pub(super) fn hold_back(&mut self, plan: &mut Plan, now: Instant) -> Option<Instant> {
        // Where nothing was tried for so long there is nothing to try any more.
        self.0
            .retain(|_, failure| now < failure.until + rest::LONGEST);
        let rests = |policy: &str| {
            self.0
                .get(policy)
                .is_some_and(|failure| now < failure.until)
        };
        plan.revisions.retain(|revision| !rests(&revision.policy));
        plan.statuses.retain(|write| !rests(&write.policy));
        plan.nodes.retain(|write| !rests(&write.spec.policy));
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

    fn outcome(bad_went_well: bool) -> BTreeMap<Arc<str>, bool> {
        BTreeMap::from([(Arc::from("bad"), bad_went_well), (Arc::from("good"), true)])
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
