//! Failures that a test plans for a twin in memory.

/// At most one failure to come.
#[derive(Debug)]
pub(crate) struct PlannedFault<E> {
    due: Option<(usize, fn() -> E)>,
}

impl<E> Default for PlannedFault<E> {
    fn default() -> Self {
        Self { due: None }
    }
}

impl<E> PlannedFault<E> {
    /// Plans the failure of the operation after `successes` more.
    pub(crate) fn plan(&mut self, successes: usize, error: fn() -> E) {
        self.due = Some((successes, error));
    }

    /// To be called by every operation before it does anything.
    pub(crate) fn pass(&mut self) -> Result<(), E> {
        match self.due.take() {
            Some((0, error)) => Err(error()),
            Some((successes, error)) => {
                self.due = Some((successes - 1, error));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
