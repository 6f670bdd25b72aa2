//! The time, so that tests can make it pass.

use std::time::Instant;

/// The time as the loop sees it.
pub trait Clock: Send {
    /// Now.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}
