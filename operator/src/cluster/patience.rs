//! Requests that get no answer are given up. A client waits for an answer as long as a watch may be silent: one connection that is dead unnoticed would
//! keep whole plans waiting for minutes.

use std::time::Duration;

use tokio::time::timeout;

/// An API server gives up itself after a minute, by when many others would have waited.
const LONGEST: Duration = Duration::from_secs(15);

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(Duration);

/// It took longer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub(super) struct NoAnswer(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(LONGEST)
    }
}

impl Patience {
    /// Waits for what a request ends with.
    pub(super) async fn wait<T>(self, request: impl Future<Output = T>) -> Result<T, NoAnswer> {
        let answered = timeout(self.0, request).await;
        answered.map_err(|_| NoAnswer(self.0))
    }

    #[cfg(test)]
    pub(super) fn of(limit: Duration) -> Self {
        Self(limit)
    }
}
