//! What is due next, and when. Pure: every call is told the time.

use std::time::{Duration, Instant};

use crate::agent::pacing::{Backoff, Pacer};
use crate::settings::NodeSettings;

/// Between two looks at the counts.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// After a comparison that a notice caused, rest so many times as long as it took.
const NOTICE_REST: u32 = 10;
/// Where no notice tells of foreign changes, rest so many times as long as a comparison took: a thousandth of a core goes into it.
const BLIND_REST: u32 = 1000;
/// But no shorter and no longer than this.
const BLIND_RESTS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// A wait with nothing to do; news ends it.
const IDLE: Duration = Duration::from_secs(3600);

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Reconcile,
    /// Make a switch of modes that failed again.
    Switch,
    Apply,
    Check,
    /// Compare everything, because somebody else changed rules, or may have.
    Verify,
    /// The same because it is time, and try again what could not be done.
    Review,
}

/// What has come in and asks for work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pending {
    /// Everything has been listed once.
    pub(super) is_listed: bool,
    /// When the oldest change came in.
    pub(super) oldest_change: Option<Instant>,
    /// Whether somebody else changed rules.
    pub(super) foreign_edits: ForeignEdits,
    /// Bindings of service addresses may be gone.
    pub(super) is_binding_lost: bool,
}

/// What is known of changes of rules that somebody else made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ForeignEdits {
    /// There was none.
    #[default]
    None,
    /// A notice told of one.
    Noticed,
    /// Nothing: the variant in use gives no notices.
    Unseen,
}

/// When each kind of work is due.
#[derive(Debug)]
pub(super) struct Schedule {
    pacer: Pacer,
    backoff: Backoff,
    /// When a switch that failed is made again.
    switch_at: Option<Instant>,
    full_interval: Duration,
    /// Nothing was programmed yet.
    fresh: bool,
    next_check: Instant,
    next_review: Instant,
    /// Where no notice tells of foreign changes.
    next_blind_verify: Instant,
    blind_rest: Duration,
    /// Notices of foreign changes are not followed before, lest a busy neighbour keeps us comparing all the time.
    next_notice: Instant,
}

impl Schedule {
    /// Of a loop that has not programmed anything yet.
    pub(super) fn new(now: Instant, settings: &NodeSettings) -> Self {
        Self {
            pacer: Pacer::new(settings.min_sync_interval),
            backoff: Backoff::default(),
            switch_at: None,
            full_interval: settings.full_sync_interval,
            fresh: true,
            next_check: now,
            next_review: now,
            next_blind_verify: now,
            blind_rest: BLIND_RESTS[0],
            next_notice: now,
        }
    }

    /// The settings changed.
    pub(super) fn follow(&mut self, settings: &NodeSettings, now: Instant) {
        self.pacer.set_min_interval(settings.min_sync_interval);
        self.full_interval = settings.full_sync_interval;
        self.next_review = self.next_review.min(now + self.full_interval);
    }

    /// What to do first, and when.
    pub(super) fn next(&self, now: Instant, pending: Pending) -> (Instant, Work) {
        if !pending.is_listed {
            return (now + IDLE, Work::Reconcile);
        }
        // After an error the kernel's state is not known: nothing is built on it before a reconcile went well.
        if let Some(retry) = self.backoff.retry_at() {
            return (retry, Work::Reconcile);
        }
        if self.fresh {
            return (now, Work::Reconcile);
        }
        let change = pending.oldest_change.map(|oldest| self.pacer.start(oldest));
        let foreign_edit = match pending.foreign_edits {
            ForeignEdits::None => None,
            ForeignEdits::Noticed => Some(self.next_notice),
            ForeignEdits::Unseen => Some(self.next_blind_verify),
        };
        let lost_binding = pending.is_binding_lost.then_some(self.next_notice);
        [
            (self.switch_at, Work::Switch),
            (change, Work::Apply),
            (foreign_edit, Work::Verify),
            (lost_binding, Work::Check),
            (Some(self.next_check), Work::Check),
            (Some(self.next_review), Work::Review),
        ]
        .into_iter()
        .filter_map(|(due, work)| Some((due?, work)))
        .min_by_key(|(due, _)| *due)
        .unwrap_or((now + IDLE, Work::Check))
    }

    /// A sync ended, well or not.
    pub(super) fn synced(&mut self, end: Instant, took: Duration) {
        self.pacer.ended(end, took);
    }

    /// The kernel holds what was last programmed.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// Programming or a look failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.backoff.failed(now);
    }

    /// A switch failed so often; what serves can be written, so other work goes on. Returns whether this is news.
    pub(super) fn put_off_switch(&mut self, now: Instant, tries: u32) -> bool {
        let is_new = self.switch_at.is_none();
        self.switch_at.get_or_insert(now + Backoff::wait(tries));
        is_new
    }

    /// No switch is put off any more.
    pub(super) fn switched(&mut self) {
        self.switch_at = None;
    }

    /// The last attempt failed, and is to be made again.
    pub(super) fn is_to_retry(&self) -> bool {
        self.backoff.retry_at().is_some()
    }

    /// All was programmed, so there is nothing to look for at once.
    pub(super) fn programmed_all(&mut self, now: Instant) {
        self.fresh = false;
        self.next_check = now + CHECK_INTERVAL;
        self.next_review = now + self.full_interval;
        self.next_blind_verify = now + self.blind_rest;
    }

    /// Everything was compared.
    pub(super) fn verified(&mut self, start: Instant, end: Instant) {
        let [shortest, longest] = BLIND_RESTS;
        let took = end.saturating_duration_since(start);
        self.blind_rest = took.saturating_mul(BLIND_REST).clamp(shortest, longest);
        self.next_blind_verify = end + self.blind_rest;
        self.checked(start, end);
    }

    /// The counts were looked at, or everything was compared.
    pub(super) fn checked(&mut self, start: Instant, end: Instant) {
        let took = end.saturating_duration_since(start);
        let rest = (took * NOTICE_REST).max(self.pacer.min_interval());
        self.next_check = end + CHECK_INTERVAL;
        self.next_notice = self.next_notice.max(end + rest);
    }

    /// Everything was compared because it was time. Foreign changes, however many, do not put that off.
    pub(super) fn reviewed(&mut self, now: Instant) {
        self.next_review = now + self.full_interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NodeNetworks;
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

    const LISTED: Pending = Pending {
        is_listed: true,
        oldest_change: None,
        foreign_edits: ForeignEdits::None,
        is_binding_lost: false,
    };

    fn settings() -> NodeSettings {
        NodeSettings::resolve(&ServiceProxyPolicySpec::default(), NodeNetworks::default())
    }

    fn at_rest(now: Instant) -> Schedule {
        let mut schedule = Schedule::new(now, &settings());
        schedule.programmed_all(now);
        schedule
    }

    #[test]
    fn nothing_is_due_before_everything_was_listed_and_then_all_is() {
        let now = Instant::now();
        let schedule = Schedule::new(now, &settings());
        assert_eq!(schedule.next(now, Pending::default()).0, now + IDLE);
        assert_eq!(schedule.next(now, LISTED), (now, Work::Reconcile));
    }

    #[test]
    fn after_a_failure_nothing_comes_before_the_retry() {
        let now = Instant::now();
        let mut schedule = at_rest(now);
        let changed = Pending {
            oldest_change: Some(now),
            foreign_edits: ForeignEdits::Noticed,
            ..LISTED
        };
        schedule.failed(now);
        let (retry, work) = schedule.next(now, changed);
        assert_eq!(work, Work::Reconcile);
        assert!(retry > now && schedule.is_to_retry());
        schedule.succeeded();
        assert_ne!(schedule.next(now, changed).1, Work::Reconcile);
    }

    #[test]
    fn a_notice_waits_ten_times_as_long_as_the_last_look_took() {
        let now = Instant::now();
        let mut schedule = at_rest(now);
        let noticed = Pending {
            foreign_edits: ForeignEdits::Noticed,
            ..LISTED
        };
        assert_eq!(schedule.next(now, noticed), (now, Work::Verify));
        let end = now + Duration::from_millis(200);
        schedule.checked(now, end);
        let due = end + Duration::from_secs(2);
        assert_eq!(schedule.next(end, noticed), (due, Work::Verify));
        assert_eq!(
            schedule.next(end, LISTED),
            (end + CHECK_INTERVAL, Work::Check)
        );
    }

    #[test]
    fn a_shorter_full_interval_counts_from_now_on() {
        let now = Instant::now();
        let mut schedule = at_rest(now);
        let shorter = NodeSettings {
            full_sync_interval: Duration::from_secs(3),
            ..settings()
        };
        schedule.follow(&shorter, now);
        let due = now + Duration::from_secs(3);
        assert_eq!(schedule.next(now, LISTED), (due, Work::Review));
    }

    #[test]
    fn without_notices_everything_is_compared_as_often_as_a_thousandth_of_a_core_allows() {
        let blind = Pending {
            foreign_edits: ForeignEdits::Unseen,
            ..LISTED
        };
        let due = |schedule: &mut Schedule, now: Instant| {
            // Looks at counts lie between.
            schedule.checked(now, now + Duration::from_secs(3600));
            schedule.next(now, blind)
        };
        let start = Instant::now();
        let now = start + Duration::from_secs(1);
        let mut schedule = at_rest(now);
        let after = |seconds| (now + Duration::from_secs(seconds), Work::Verify);
        assert_eq!(due(&mut schedule, now), after(10));
        for (milliseconds, rest) in [(999, 10), (970, 30), (600, 60)] {
            schedule.verified(start + Duration::from_millis(milliseconds), now);
            assert_eq!(due(&mut schedule, now), after(rest), "{milliseconds}");
        }
        schedule.programmed_all(now);
        assert_eq!(due(&mut schedule, now), after(60));
        assert_ne!(schedule.next(now, LISTED).1, Work::Verify);
    }
}
