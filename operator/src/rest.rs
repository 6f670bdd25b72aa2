//! How long what failed rests before it is tried again.

use std::time::Duration;

/// At first.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// However often it fails.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// After another failure.
pub(crate) fn doubled(rest: Duration) -> Duration {
    (rest * 2).min(LONGEST)
}
