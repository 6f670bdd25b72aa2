//! How a revision reaches the nodes of a pool: step by step, and back where it does not work. Pure: a step is a function of what there is
//! and of the time.
//!
//! Which nodes hold a rollout up, and which do not:
//! - `maxUnavailable` counts nodes on their way and nodes that are not ready. Where nodes that were not ready anyway use it up, the
//!   rollout goes on one node at a time, so that a broken node does not block a pool for ever.
//! - Nodes that serve nothing properly now have nothing to lose, and are moved at once: those that are not ready, and those whose agent
//!   has never said anything. They cannot make a rollout fail by being late, only by saying that they cannot run the revision.
//!   But as long as no node has shown that a revision works, no more of the not ready ones try it than `maxUnavailable`.
//! - A node that was moved and has not been good since stops the pool, also where the revision was good on others: nodes that come from
//!   another policy, or change their mode, go no further than the first that fails. One that was good and fails later stops a rollout only.
//! - A node that had proved itself and is not ready any more has `progressDeadlineSeconds` again.
//! - A node that made a rollout fail is on its way again while it goes back, for `progressDeadlineSeconds` at most.
//! - A node that cannot be reached any more since shortly after it was told something else may be so because of that: it is on its way, and
//!   has failed when it is not back within `progressDeadlineSeconds`.
//! - Other nodes that cannot be reached count for nothing until they are back. Their data planes may serve on unseen, so they are told when nobody
//!   else is left to be moved, and no more than `maxUnavailable` as long as they do not answer; but at once where they were not ready with what failed.
//! - A node whose agent says nothing within `progressDeadlineSeconds` of its first being told is taken for one without an agent. It is passed
//!   over once another node has shown that the revision works.

mod member;
mod mode_change;
mod outcome;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::v1alpha1::{ActiveMode, Mode, OnFailure, Rollout};

use crate::objects::{Answer, Node, Proxy};
use crate::revision::Revision;
use member::{Member, Place};
pub use mode_change::ModeChange;
pub use outcome::Outcome;
pub use state::{Failure, State};

/// The nodes that a policy counts for, and what it wants of them.
#[derive(Debug, Clone)]
pub struct Pool<'a> {
    /// The nodes, with their objects.
    pub nodes: Vec<(&'a Node, Option<&'a Proxy>)>,
    /// Services that are proxied in the cluster.
    pub services: usize,
    /// What the policy says now.
    pub newest: &'a Revision,
    /// What every node had when the last rollout ended well; absent where there was none, or it is not known any more.
    pub current: Option<&'a Revision>,
    /// Name of the revision that failed.
    pub rejected: Option<&'a str>,
    /// How to go about it.
    pub rollout: &'a Rollout,
}

/// A node that is to be told something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The node.
    pub node: Arc<str>,
    /// The revision.
    pub revision: Arc<str>,
    /// The mode.
    pub mode: ActiveMode,
    /// When it was moved, for nodes that may be late; absent for those that may not.
    pub moved_at: Option<Timestamp>,
}

/// Takes one step.
pub fn step(pool: &Pool<'_>, now: Timestamp) -> Outcome {
    let rejected = pool.rejected.filter(|name| *name == &*pool.newest.name);
    // A revision that failed with nothing to go back to stays.
    let back = pool
        .current
        .filter(|current| current.name != pool.newest.name);
    if rejected.is_some()
        && let Some(current) = back
    {
        return Stepper::new(pool, current, now).finish(Some(&Failure::earlier()));
    }
    let stepper = Stepper::new(pool, pool.newest, now);
    let failures = stepper.failures();
    match back {
        Some(current) if !failures.is_empty() && pool.rollout.on_failure == OnFailure::Rollback => {
            let failure = Failure::of(&failures);
            Stepper::new(pool, current, now).finish(Some(&failure))
        }
        _ => stepper.finish(None),
    }
}

/// One step towards one revision.
struct Stepper<'a> {
    pool: &'a Pool<'a>,
    target: &'a Revision,
    members: Vec<Member<'a>>,
    now: Timestamp,
}

impl<'a> Stepper<'a> {
    fn new(pool: &'a Pool<'a>, target: &'a Revision, now: Timestamp) -> Self {
        let members = pool.nodes.iter();
        let members = members.map(|(node, proxy)| Member::new(node, *proxy, target, pool, now));
        let mut members: Vec<Member<'a>> = members.collect();
        members.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        Self {
            pool,
            target,
            members,
            now,
        }
    }

    /// Nodes that have the revision and do not get ready; first those that somebody has to mend before others follow.
    fn failures(&self) -> Vec<&Member<'a>> {
        let mut failures: Vec<_> = self.members.iter().filter(|m| m.has_failed()).collect();
        failures.sort_by_key(|m| !m.was_moved_in_vain());
        failures
    }

    /// The revision is new to the pool.
    fn is_rolling_out(&self) -> bool {
        let is_new = |current: &Revision| current.name != self.target.name;
        self.pool.current.is_some_and(is_new)
    }

    fn finish(self, rejected: Option<&Failure>) -> Outcome {
        let failures = self.failures();
        let is_back = rejected.is_some();
        // Nothing to go back to, or nobody wants to: what has failed stays, and nothing follows it.
        let is_unproven = self.is_rolling_out() || self.pool.current.is_none();
        let is_stuck = !is_back
            && failures
                .iter()
                .any(|m| is_unproven || m.was_moved_in_vain());
        let holds = self.pool.rollout.paused || is_stuck;
        let mut moves = self.new_nodes(is_back);
        if !holds {
            moves.extend(self.moves());
        }
        let had_one_before = self.pool.current.is_some();
        let is_complete = self.members.iter().all(|m| m.is_done(had_one_before))
            && (self.members.is_empty() || self.members.iter().any(Member::is_settled_there));
        let stalled = match (rejected, failures.is_empty()) {
            (Some(failure), _) => Some(failure.clone()),
            (None, false) => Some(Failure::of(&failures)),
            (None, true) => None,
        };
        let current = if is_complete && !is_back {
            Some(Arc::clone(&self.target.name))
        } else {
            self.pool.current.map(|current| Arc::clone(&current.name))
        };
        Outcome {
            state: self.state(&moves, is_back, stalled.as_ref()),
            stalled,
            current,
            update: Arc::clone(&self.target.name),
            rejected: is_back.then(|| Arc::clone(&self.pool.newest.name)),
            matched: self.members.len(),
            updated: self.count(|m| m.place == Place::There && m.has_answered()),
            ready: self.count(|m| m.answer() == Answer::Ready),
            unreachable: self.count(|m| !m.node.is_reachable),
            silent: self.count(Member::is_silent),
            modes: self.modes(),
            mode_changes: self.mode_changes(),
            on_their_way: self.names(|m| {
                let is_awaited = m.counts() && !m.is_settled() && !m.is_mute();
                m.place == Place::There && is_awaited
            }),
            wake: self.members.iter().filter_map(|m| m.due).min(),
            moves,
        }
    }

    fn state(&self, moves: &[Move], is_back: bool, stalled: Option<&Failure>) -> State {
        let behind = self.count(|m| m.node.is_reachable && m.place != Place::There);
        let is_proven = self.members.iter().any(Member::is_settled_there);
        let mut count = self.members.iter().filter(|m| m.counts());
        let all_ready = count
            .all(|m| m.place == Place::There && (m.is_settled() || (is_proven && m.is_mute())));
        if is_back && self.pool.rollout.paused && behind > 0 {
            State::Paused { behind }
        } else if is_back {
            State::RolledBack {
                is_under_way: behind > 0 || !all_ready,
            }
        } else if all_ready && behind == 0 {
            State::Ready
        } else if self.pool.rollout.paused && behind > 0 {
            State::Paused { behind }
        } else if stalled.is_some() && moves.is_empty() {
            State::Stuck
        } else {
            State::Moving { behind }
        }
    }

    /// Nodes without an object get one at once, of a revision that is known to work if there is one.
    fn new_nodes(&self, is_back: bool) -> Vec<Move> {
        let is_settled = |m: &&Member<'_>| {
            m.place == Place::Absent || (m.place == Place::There && m.is_settled())
        };
        let is_under_way = self.is_rolling_out() && !self.members.iter().all(|m| is_settled(&m));
        let first = match self.pool.current {
            Some(current) if is_under_way && !is_back => current,
            _ => self.target,
        };
        let new = self.members.iter().filter(|m| m.place == Place::Absent);
        new.map(|m| Move {
            node: Arc::clone(&m.node.name),
            revision: Arc::clone(&first.name),
            mode: m.mode_of(first, self.pool),
            moved_at: Some(self.now),
        })
        .collect()
    }

    fn moves(&self) -> Vec<Move> {
        let current = self.pool.current.map(|current| &*current.name);
        let deadline = self.deadline();
        let behind = self.members.iter().filter(|m| m.place == Place::Behind);
        let (away, behind): (Vec<&Member<'_>>, Vec<&Member<'_>>) =
            behind.partition(|m| m.is_away() && !self.suffers(m));
        let mut moves = self.moves_of_broken(&behind);
        moves.extend(self.moves_of_away(&away));
        let on_their_way = self.count(|m| self.is_on_its_way(m));
        let broken = self.count(|m| {
            m.node.is_reachable && !self.is_on_its_way(m) && m.answer() != Answer::Ready
        });
        let allowed = self.most().saturating_sub(broken).max(1);
        let free = allowed.saturating_sub(on_their_way);
        let ready = behind
            .iter()
            .filter(|m| !m.has_nothing_to_lose(current, deadline, self.now));
        let ready = ready.filter(|m| m.answer() == Answer::Ready);
        moves.extend(ready.take(free).map(|m| self.move_of(m, Some(self.now))));
        moves
    }

    /// Nodes that have nothing to lose. Where not one node has shown yet that the revision works, only as many try it as may be out at a time.
    fn moves_of_broken(&self, behind: &[&Member<'a>]) -> Vec<Move> {
        let current = self.pool.current.map(|current| &*current.name);
        let deadline = self.deadline();
        let is_known = current == Some(&*self.target.name)
            || self.members.iter().any(Member::is_settled_there);
        let nobody_works = !self.members.iter().any(|m| m.answer() == Answer::Ready);
        let is_trying = |m: &Member<'_>| {
            m.place == Place::There && m.node.is_reachable && !m.is_silent() && !m.is_settled()
        };
        let mut tries = self.most().saturating_sub(self.count(|m| is_trying(m)));
        let mut moves = Vec::new();
        for member in behind {
            if !member.has_nothing_to_lose(current, deadline, self.now) {
                continue;
            }
            let is_between = member.is_between(deadline, self.now);
            let serves_nobody = member.is_silent() || !member.node.is_reachable;
            if !is_known && !serves_nobody && !is_between {
                if tries == 0 {
                    continue;
                }
                tries -= 1;
            }
            // One that is moved on takes the place that it had: nobody else is moved in its stead. And where nobody works, those that try are all
            // there is to go by.
            let may_be_late = is_between
                || self.goes_back(member)
                || (nobody_works && !serves_nobody && !is_known);
            moves.push(self.move_of(member, may_be_late.then_some(self.now)));
        }
        moves
    }

    /// Nodes that cannot be reached, when nobody else is left to be moved. They are told nevertheless, since an agent may well be reached where its kubelet
    /// is not, or is not ready for want of the very change.
    fn moves_of_away(&self, away: &[&Member<'a>]) -> Vec<Move> {
        let is_left = |m: &Member<'_>| m.place != Place::There || self.is_on_its_way(m);
        if self
            .members
            .iter()
            .any(|m| m.node.is_reachable && is_left(m))
        {
            return Vec::new();
        }
        let unanswered = self.count(|m| m.place == Place::There && m.is_away() && !m.is_settled());
        let free = self.most().saturating_sub(unanswered);
        let away = away.iter().take(free);
        away.map(|m| {
            let was_ready = m.answer() == Answer::Ready;
            self.move_of(m, was_ready.then_some(self.now))
        })
        .collect()
    }

    fn move_of(&self, member: &Member<'_>, moved_at: Option<Timestamp>) -> Move {
        Move {
            node: Arc::clone(&member.node.name),
            revision: Arc::clone(&self.target.name),
            mode: member.wanted.mode,
            moved_at,
        }
    }

    fn is_on_its_way(&self, member: &Member<'_>) -> bool {
        member.is_moving() || member.is_between(self.deadline(), self.now) || self.goes_back(member)
    }

    fn goes_back(&self, member: &Member<'_>) -> bool {
        let newest = &self.pool.newest.name;
        *newest != self.target.name && member.goes_back_from(newest)
    }

    /// It has what failed, and was not ready with it.
    fn suffers(&self, member: &Member<'_>) -> bool {
        let newest = &self.pool.newest.name;
        *newest != self.target.name && member.has(newest) && member.answer() != Answer::Ready
    }

    fn most(&self) -> usize {
        usize::try_from(self.pool.rollout.max_unavailable).unwrap_or(usize::MAX)
    }

    fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.pool.rollout.progress_deadline_seconds.into())
    }

    fn count(&self, which: impl Fn(&Member<'a>) -> bool) -> usize {
        self.members.iter().filter(|m| which(m)).count()
    }

    fn names(&self, which: impl Fn(&Member<'a>) -> bool) -> Vec<Arc<str>> {
        let which = self.members.iter().filter(|m| which(m));
        which.map(|m| Arc::clone(&m.node.name)).collect()
    }

    fn mode_changes(&self) -> Vec<ModeChange> {
        let content = &self.target.content;
        if content.mode != Mode::Auto {
            return Vec::new();
        }
        let changes = [ActiveMode::IPVS, ActiveMode::IPTables].map(|mode| {
            let nodes = self.count(|m| m.node.is_reachable && m.changes_mode_to(mode));
            ModeChange::new(mode, nodes, self.pool.services, content.auto)
        });
        let changes = changes.into_iter();
        changes.filter(|change| change.nodes > 0).collect()
    }

    fn modes(&self) -> Vec<(ActiveMode, usize)> {
        let mut modes: BTreeMap<String, (ActiveMode, usize)> = BTreeMap::new();
        for mode in self.members.iter().filter_map(|m| m.proxy?.active_mode) {
            modes.entry(mode.to_string()).or_insert((mode, 0)).1 += 1;
        }
        modes.into_values().collect()
    }
}
