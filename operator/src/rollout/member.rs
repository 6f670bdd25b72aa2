//! One node of a pool, next to what it should have.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::v1alpha1::ActiveMode;

use super::Pool;
use crate::objects::{Answer, Node, Proxy, Told, settings_hash};
use crate::revision::Revision;

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

/// See the module.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) node: &'a Node,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) wanted: Told,
    pub(super) place: Place,
    /// When time alone changes something about it.
    pub(super) due: Option<Timestamp>,
    settled: bool,
    late: bool,
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
            settled: false,
            late: false,
        };
        member.wanted.mode = member.mode_of(target, pool.services);
        if let Some(proxy) = proxy {
            let is_there = proxy.told.as_ref() == Some(&member.wanted);
            member.place = if is_there {
                Place::There
            } else {
                Place::Behind
            };
        }
        let seconds = |seconds: u32| SignedDuration::from_secs(seconds.into());
        if member.answer() == Answer::Ready {
            let settles = member.proxy.and_then(|proxy| proxy.ready_since);
            let settles = settles.map(|since| since + seconds(pool.rollout.min_ready_seconds));
            member.settled = settles.is_some_and(|at| at <= now);
            member.due = settles.filter(|at| *at > now);
        } else if let Some(moving_since) = member.proxy.and_then(|proxy| proxy.moving_since) {
            // A node that comes back has its time again.
            let from = node
                .reachable_since
                .map_or(moving_since, |since| since.max(moving_since).min(now));
            let late_at = from + seconds(pool.rollout.progress_deadline_seconds);
            member.late = late_at <= now;
            member.due = (late_at > now).then_some(late_at);
        }
        member
    }

    /// The mode that a revision means for it.
    pub(super) fn mode_of(&self, revision: &Revision, services: usize) -> ActiveMode {
        let told = self.proxy.and_then(|proxy| proxy.told.as_ref());
        let can_run_ipvs = self.proxy.and_then(|proxy| proxy.can_run_ipvs);
        revision
            .content
            .mode_for(services, told.map(|told| told.mode), can_run_ipvs)
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
        self.proxy.is_none_or(|proxy| proxy.can_run_ipvs.is_none())
    }

    /// It has been ready for long enough.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// It has the revision, and has been ready for long enough.
    pub(super) fn is_settled_there(&self) -> bool {
        self.place == Place::There && self.settled
    }

    /// It was ready when it was moved, and is not settled yet.
    pub(super) fn is_moving(&self) -> bool {
        let was_moved = self.proxy.is_some_and(|proxy| proxy.moving_since.is_some());
        was_moved && self.place == Place::There && !self.settled && !self.late
    }

    /// It has the revision, and will not get ready.
    pub(super) fn has_failed(&self) -> bool {
        let cannot = self.answer() == Answer::Unsupported;
        let is_late = self.late && self.answer() != Answer::Ready && !self.is_silent();
        self.place == Place::There && self.node.is_reachable && (cannot || is_late)
    }

    /// Nothing more is to be waited for. Where nothing was good before, a node whose agent says nothing proves nothing.
    pub(super) fn is_done(&self, had_one_before: bool) -> bool {
        let is_there = self.place == Place::There;
        (is_there && self.settled)
            || !self.node.is_reachable
            || (is_there && had_one_before && self.is_silent())
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

    /// It was ready when it was moved to the revision that failed, and is not now: it is on its way as long as it goes back.
    pub(super) fn goes_back_from(&self, failed: &str) -> bool {
        let told = self.proxy.and_then(|proxy| proxy.told.as_ref());
        let was_moved = self.proxy.is_some_and(|proxy| proxy.moving_since.is_some());
        self.place == Place::Behind
            && was_moved
            && self.node.is_reachable
            && !self.is_silent()
            && self.answer() != Answer::Ready
            && told.is_some_and(|told| *told.revision == *failed)
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
        let has_current =
            proxy.told.as_ref().map(|told| &*told.revision) == current && current.is_some();
        let is_recent = proxy
            .moving_since
            .is_some_and(|at| now.duration_since(at) < deadline);
        !(has_current && is_recent)
    }
}
