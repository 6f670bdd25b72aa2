//! When the next sync may start, and when a failed one is tried again. Pure: every call is told the time.

use std::time::{Duration, Instant};

/// The thread rests at least one in so many parts of the time that the last sync took: a storm of changes leaves it a fifth of its time,
/// and a change right after another waits little.
const REST_PART: u32 = 4;
/// But no longer than this for a long sync.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// The first change of a burst waits this share of the least interval for the others.
const SETTLE_SHARE: u32 = 10;

/// Spaces syncs, measured from the end of one to the start of the next.
#[derive(Debug)]
pub(super) struct Pacer {
    min_interval: Duration,
    last: Option<(Instant, Duration)>,
}

impl Pacer {
    /// Spaces syncs by at least `min_interval`.
    pub(super) fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last: None,
        }
    }

    /// The settings changed.
    pub(super) fn set_min_interval(&mut self, min_interval: Duration) {
        self.min_interval = min_interval;
    }

    /// The least time from the end of one sync to the start of the next.
    pub(super) fn min_interval(&self) -> Duration {
        self.min_interval
    }

    /// A sync ended.
    pub(super) fn ended(&mut self, at: Instant, took: Duration) {
        self.last = Some((at, took));
    }

    /// When changes, of which the oldest came in at `oldest`, may be programmed.
    pub(super) fn start(&self, oldest: Instant) -> Instant {
        let settled = oldest + self.min_interval / SETTLE_SHARE;
        match self.last {
            Some((end, took)) => {
                let rest = (took / REST_PART).min(LONGEST_REST).max(self.min_interval);
                settled.max(end + rest)
            }
            None => settled,
        }
    }
}

/// Waits between attempts that fail: doubled each time, from a quarter of a second to ten seconds.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    retry_at: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(10);

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + Self::wait(self.failures));
    }

    /// The wait after so many failures in a row.
    pub(super) fn wait(failures: u32) -> Duration {
        let wait = Self::FIRST * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        wait.min(Self::LONGEST)
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// When to try again; absent when the last attempt was good.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(50);

    #[test]
    fn a_change_after_rest_waits_only_for_the_others_of_its_burst() {
        let now = Instant::now();
        assert_eq!(Pacer::new(INTERVAL).start(now), now + INTERVAL / 10);
    }

    #[test]
    fn the_interval_counts_from_the_end_of_the_last_sync() {
        let mut pacer = Pacer::new(INTERVAL);
        let end = Instant::now();
        pacer.ended(end, Duration::from_millis(1));
        assert_eq!(pacer.start(end), end + INTERVAL);
        let later = end + Duration::from_secs(60);
        assert_eq!(pacer.start(later), later + INTERVAL / 10);
    }

    #[test]
    fn a_slow_sync_is_followed_by_a_longer_rest_up_to_a_bound() {
        let mut pacer = Pacer::new(INTERVAL);
        let end = Instant::now();
        pacer.ended(end, Duration::from_millis(400));
        assert_eq!(pacer.start(end), end + Duration::from_millis(100));
        pacer.ended(end, Duration::from_secs(60));
        assert_eq!(pacer.start(end), end + LONGEST_REST);
    }

    #[test]
    fn retries_wait_longer_each_time_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.retry_at(), None);
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.failed(now);
            waits.push((backoff.retry_at().unwrap() - now).as_millis());
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.succeeded();
        assert_eq!(backoff.retry_at(), None);
        backoff.failed(now);
        assert_eq!(backoff.retry_at().unwrap() - now, Backoff::FIRST);
    }
}
