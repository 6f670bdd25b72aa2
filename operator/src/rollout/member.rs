//! One node of a pool, next to what it should have.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::v1alpha1::ActiveMode;

use super::Pool;
use crate::objects::{Answer, Node, Proxy, Told, settings_hash};
use crate::revision::Revision;

/// So long may a node be gone before its object says so: a kubelet that is not heard is given 50 s (`--node-monitor-grace-period` of the
/// controller manager).
const UNNOTICED: SignedDuration = SignedDuration::from_secs(60);

/// Where a node is on the way to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no object.
    Absent,
    /// It was told something else.
    Behind,
    /// It was told.
    There,
}

/// Whether a node has shown that it is good with what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// It has time left.
    Open,
    /// It has been ready for long enough.
    Passed,
    /// It has had its time.
    Late,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) node: &'a Node,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) wanted: Told,
    pub(super) place: Place,
    /// When time alone changes something about it.
    pub(super) due: Option<Timestamp>,
    trial: Trial,
    /// See [`Member::has_vanished`].
    has_vanished: bool,
    /// Since when it is not ready any more at what it has, if it had proved itself there.
    fell_at: Option<Timestamp>,
    /// Its agent has had the time for a first word, and has said none.
    is_mute: bool,
}

impl<'a> Member<'a> {
    pub(super) fn new(
        node: &'a Node,
        proxy: Option<&'a Proxy>,
        target: &Revision,
        pool: &Pool<'_>,
        now: Timestamp,
    ) -> Self {
        // An object that belongs to an earlier node of this name says nothing of this one.
        let proxy = proxy.filter(|proxy| proxy.owner.as_deref() == Some(node.uid.as_str()));
        let mut member = Self {
            node,
            proxy,
            wanted: Told {
                policy: Arc::clone(&target.policy),
                revision: Arc::clone(&target.name),
                mode: ActiveMode::IPTables,
                settings: settings_hash(&target.content.settings),
            },
            place: Place::Absent,
            due: None,
            trial: Trial::Open,
            has_vanished: false,
            fell_at: None,
            is_mute: false,
        };
        member.wanted.mode = member.mode_of(target, pool);
        if let Some(proxy) = proxy {
            let is_there = proxy.told.as_ref() == Some(&member.wanted);
            member.place = if is_there {
                Place::There
            } else {
                Place::Behind
            };
        }
        if let Some(proxy) = proxy {
            member.judge_time(proxy, pool, now);
        }
        member
    }

    /// What depends on the time.
    fn judge_time(&mut self, proxy: &Proxy, pool: &Pool<'_>, now: Timestamp) {
        let seconds = |seconds: u32| SignedDuration::from_secs(seconds.into());
        let min_ready = seconds(pool.rollout.min_ready_seconds);
        let deadline = seconds(pool.rollout.progress_deadline_seconds);
        self.has_vanished = self.vanished(proxy, min_ready, deadline);
        if proxy.answer == Answer::Ready && !self.has_vanished {
            let settles = proxy.ready_since.map(|since| since + min_ready);
            if settles.is_some_and(|at| at <= now) {
                self.trial = Trial::Passed;
            }
            self.due = settles.filter(|at| *at > now);
            return;
        }
        self.fell_at = fell_at(proxy, min_ready, deadline).filter(|_| !self.has_vanished);
        let late_at = proxy.moving_since.map(|moving_since| {
            // A node that goes or comes back has its time again, and so has one that had proved itself.
            let again = self.node.so_since.max(self.fell_at);
            again.map_or(moving_since, |since| since.max(moving_since).min(now)) + deadline
        });
        if late_at.is_some_and(|at| at <= now) {
            self.trial = Trial::Late;
        }
        let mute_at = proxy.made_at.filter(|_| proxy.is_silent());
        let mute_at = mute_at.map(|made_at| made_at + deadline);
        self.is_mute = mute_at.is_some_and(|at| at <= now);
        let times = [late_at, mute_at].into_iter().flatten();
        self.due = times.filter(|at| *at > now).min();
    }

    fn vanished(&self, proxy: &Proxy, min_ready: SignedDuration, deadline: SignedDuration) -> bool {
        let went = self.node.so_since.filter(|_| !self.node.is_reachable);
        let (Some(went), Some(told)) = (went, proxy.moving_since) else {
            return false;
        };
        let had_proved_itself = match proxy.ready_since {
            Some(since) => {
                let long = min_ready + UNNOTICED;
                since + long <= went || proxy.longest_ready >= long
            }
            // It was late already, or nobody saw how it was before it was not ready.
            None => told + deadline < went,
        };
        let had_something_to_lose = proxy.was_told_before && !proxy.is_silent();
        told < went && had_something_to_lose && !had_proved_itself
    }

    /// The mode that a revision means for it.
    pub(super) fn mode_of(&self, revision: &Revision, pool: &Pool<'_>) -> ActiveMode {
        let has = self.proxy.and_then(|proxy| mode_had(proxy, revision, pool));
        let can_run_ipvs = self.proxy.and_then(|proxy| proxy.can_run_ipvs);
        let content = &revision.content;
        content.mode_for(pool.services, has, can_run_ipvs)
    }

    pub(super) fn answer(&self) -> Answer {
        self.proxy.map_or(Answer::None, |proxy| proxy.answer)
    }

    pub(super) fn message(&self) -> &str {
        self.proxy.map_or("", |proxy| proxy.message.as_str())
    }

    /// Its agent has said something of what it was told.
    pub(super) fn has_answered(&self) -> bool {
        self.answer() != Answer::None
    }

    /// Its agent has never said anything.
    pub(super) fn is_silent(&self) -> bool {
        self.proxy.is_none_or(Proxy::is_silent)
    }

    /// Its agent has been silent for so long that there may be none: nobody waits for it.
    pub(super) fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// Nobody sees how it fares, but its data plane may serve on.
    pub(super) fn is_away(&self) -> bool {
        !self.node.is_reachable && !self.is_silent()
    }

    /// It was told something else than it had, and could not be reached any more before it had proved itself: that may be why.
    pub(super) fn has_vanished(&self) -> bool {
        self.has_vanished
    }

    /// It has been ready for long enough.
    pub(super) fn is_settled(&self) -> bool {
        self.trial == Trial::Passed
    }

    /// It has the revision, and has been ready for long enough.
    pub(super) fn is_settled_there(&self) -> bool {
        self.place == Place::There && self.is_settled()
    }

    /// It was ready when it was moved, and is not settled yet.
    pub(super) fn is_moving(&self) -> bool {
        let was_moved = self.proxy.is_some_and(|proxy| proxy.moving_since.is_some());
        was_moved && self.counts() && self.place == Place::There && self.trial == Trial::Open
    }

    /// What becomes of it says something about what it was told.
    pub(super) fn counts(&self) -> bool {
        self.node.is_reachable || self.has_vanished
    }

    /// It has the revision, and will not get ready.
    pub(super) fn has_failed(&self) -> bool {
        let cannot = self.answer() == Answer::Unsupported;
        let is_unready = self.answer() != Answer::Ready || self.has_vanished;
        let is_late = self.trial == Trial::Late && is_unready && !self.is_silent();
        self.place == Place::There && self.counts() && (cannot || is_late)
    }

    /// It failed, was moved from something else, and was not good since.
    pub(super) fn was_moved_in_vain(&self) -> bool {
        let was_moved = |proxy: &Proxy| proxy.moving_since.is_some() && proxy.was_told_before;
        self.has_failed() && self.proxy.is_some_and(was_moved) && self.fell_at.is_none()
    }

    /// Nothing more is to be waited for. Where nothing was good before, an agent that says nothing has its time to come.
    pub(super) fn is_done(&self, had_one_before: bool) -> bool {
        let is_there = self.place == Place::There;
        (is_there && self.is_settled())
            || !self.counts()
            || (is_there && self.is_silent() && (had_one_before || self.is_mute))
    }

    /// It is on its way to something else than it should have by now.
    pub(super) fn is_between(&self, deadline: SignedDuration, now: Timestamp) -> bool {
        let moving_since = self.proxy.and_then(|proxy| proxy.moving_since);
        self.place == Place::Behind
            && self.node.is_reachable
            && !self.is_silent()
            && self.answer() != Answer::Ready
            && moving_since.is_some_and(|at| now.duration_since(at) < deadline)
    }

    /// It was told all that it should have, but for the mode.
    pub(super) fn changes_mode_to(&self, mode: ActiveMode) -> bool {
        let told = self.proxy.and_then(|proxy| proxy.told.as_ref());
        let is_changed = |told: &Told| {
            Told {
                mode,
                ..told.clone()
            } == self.wanted
        };
        self.place == Place::Behind && told.is_some_and(is_changed)
    }

    /// It was told this revision.
    pub(super) fn has(&self, revision: &str) -> bool {
        let told = self.proxy.and_then(|proxy| proxy.told.as_ref());
        told.is_some_and(|told| *told.revision == *revision)
    }

    /// It was ready when it was moved to the revision that failed, and is not now: it is on its way as long as it goes back.
    pub(super) fn goes_back_from(&self, failed: &str) -> bool {
        let was_moved = self.proxy.is_some_and(|proxy| proxy.moving_since.is_some());
        self.place == Place::Behind
            && was_moved
            && self.node.is_reachable
            && !self.is_silent()
            && self.answer() != Answer::Ready
            && self.has(failed)
    }

    /// It serves nothing properly, so it may be moved at any time; but for one that was told just now what is known to work.
    pub(super) fn has_nothing_to_lose(
        &self,
        current: Option<&str>,
        deadline: SignedDuration,
        now: Timestamp,
    ) -> bool {
        if !self.node.is_reachable || self.answer() == Answer::Unsupported {
            return true;
        }
        let Some(proxy) = self.proxy else {
            return true;
        };
        if self.answer() == Answer::Ready {
            return false;
        }
        let has_current = current.is_some_and(|current| self.has(current));
        let is_recent = proxy
            .moving_since
            .is_some_and(|at| now.duration_since(at) < deadline);
        !(has_current && is_recent)
    }
}

/// The mode that a node is in, as far as a revision may leave it there: the mode of another one, which failed or was taken back, does not count where it
/// goes back.
fn mode_had(proxy: &Proxy, revision: &Revision, pool: &Pool<'_>) -> Option<ActiveMode> {
    let told = proxy.told.as_ref()?;
    let is_current = pool.current.is_some_and(|one| one.name == revision.name);
    let goes_back = is_current && told.policy == revision.policy && told.revision != revision.name;
    let has_failed = told.revision == pool.newest.name;
    if goes_back && (has_failed || proxy.mode_before.is_some()) {
        return proxy.mode_before;
    }
    Some(told.mode)
}

/// Since when a node that had proved itself is not ready any more. It had if it was ready for long enough at any time. Where nobody saw how it was before, or where it
/// has only begun to speak, it has its time again if it was not found wanting when that was over.
fn fell_at(
    proxy: &Proxy,
    min_ready: SignedDuration,
    deadline: SignedDuration,
) -> Option<Timestamp> {
    let fell_at = proxy.unready_since?;
    let had_proved_itself = match proxy.ready_since {
        Some(_) => proxy.longest_ready >= min_ready,
        None => proxy
            .moving_since
            .is_none_or(|moving_since| moving_since + deadline < fell_at),
    };
    had_proved_itself.then_some(fell_at)
}
