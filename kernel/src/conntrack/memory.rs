//! Connection tracking kept in memory: a test says which flows there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Conntrack, ConntrackError, Family, Flow};
use crate::fault::PlannedFault;

/// The in-memory twin of [`ConntrackNetlink`](super::ConntrackNetlink). Clones share their table: a test keeps one to look
/// inside.
#[derive(Debug, Clone, Default)]
pub struct MemoryConntrack {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    flows: Vec<Flow>,
    lists: usize,
    fault: PlannedFault<ConntrackError>,
}

impl MemoryConntrack {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flow, in place of one with the same original tuple.
    pub fn insert(&self, flow: Flow) {
        let mut state = self.state();
        state.flows.retain(|present| !same_entry(present, &flow));
        state.flows.push(flow);
    }

    /// All flows, oldest first.
    pub fn flows(&self) -> Vec<Flow> {
        self.state().flows.clone()
    }

    /// How many times a family was listed.
    pub fn lists(&self) -> usize {
        self.state().lists
    }

    /// After `successes` more operations, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> ConntrackError) {
        self.state().fault.plan(successes, error);
    }

    /// A poisoned lock means that a test has failed already, and it may still want to look inside.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the kernel would hold one entry for both.
fn same_entry(one: &Flow, other: &Flow) -> bool {
    (one.protocol, one.zone, one.original) == (other.protocol, other.zone, other.original)
}

impl Conntrack for MemoryConntrack {
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError> {
        let flows = {
            let mut state = self.state();
            state.lists += 1;
            state.fault.pass()?;
            state.flows.clone()
        };
        flows
            .iter()
            .filter(|flow| flow.family == family)
            .for_each(visit);
        Ok(())
    }

    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        let mut state = self.state();
        state.fault.pass()?;
        let before = state.flows.len();
        state
            .flows
            .retain(|present| !flows.iter().any(|flow| same_entry(present, flow)));
        Ok(before - state.flows.len())
    }
}
