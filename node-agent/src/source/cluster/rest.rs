//! How long to rest after a failure: longer after each, and not the same for all nodes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first rest.
const SHORTEST: Duration = Duration::from_millis(400);

/// Failures one after the other.
#[derive(Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// It went well.
    pub(super) fn end(&mut self) {
        self.0 = 0;
    }

    /// Another failure: how long to rest, at most about `longest`.
    pub(super) fn rest(&mut self, longest: Duration) -> Duration {
        let rest = SHORTEST.saturating_mul(1 << self.0.min(16)).min(longest);
        self.0 = self.0.saturating_add(1);
        // A thousand agents that lost the same server should not come back at once.
        let part = u32::try_from(RandomState::new().hash_one(self.0) % 1000).unwrap_or_default();
        rest.mul_f64(0.75 + f64::from(part) / 2000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_up_to_the_longest_and_begin_anew_after_success() {
        let mut failures = Failures::default();
        let longest = Duration::from_secs(15);
        let rests: Vec<Duration> = (0..40).map(|_| failures.rest(longest)).collect();
        assert!(rests[0] <= SHORTEST.mul_f64(1.25), "{rests:?}");
        assert!(rests[39] >= longest.mul_f64(0.75), "{rests:?}");
        assert!(rests.iter().all(|rest| *rest <= longest.mul_f64(1.25)));
        failures.end();
        assert!(failures.rest(longest) <= SHORTEST.mul_f64(1.25));
    }
}
