//! IPVS kept in memory: what the kernel does, without one.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::check::check;
use super::{
    Cause, Change, Connection, ConnectionCounts, Info, Ipvs, IpvsError, ListedDestination,
    ListedService, RealServer, Refused, SCHEDULERS, Statistics, Timeouts, Traffic, VirtualServer,
};
use crate::fault::PlannedFault;
use crate::netlink::MAX_ORDERS;
use table::Table;

/// The kernel's largest timeout in seconds, at 250 ticks a second (`INT_MAX / HZ`).
const MAX_TIMEOUT_SECONDS: u32 = i32::MAX.unsigned_abs() / 250;

/// The in-memory twin of [`IpvsNetlink`](super::IpvsNetlink). Clones share their table: a test keeps one to look inside.
#[derive(Debug, Clone)]
pub struct MemoryIpvs {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    table: Table,
    timeouts: Timeouts,
    connections: Vec<Connection>,
    changes: Vec<Change>,
    traffic: Traffic,
    fault: PlannedFault<IpvsError>,
    refusal: PlannedFault<Cause>,
}

impl Default for MemoryIpvs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryIpvs {
    /// An empty table, with all schedulers.
    pub fn new() -> Self {
        let state = State {
            table: Table::new(&SCHEDULERS),
            timeouts: Timeouts {
                tcp_seconds: 15 * 60,
                tcp_fin_seconds: 2 * 60,
                udp_seconds: 5 * 60,
            },
            connections: Vec::new(),
            changes: Vec::new(),
            traffic: Traffic::default(),
            fault: PlannedFault::default(),
            refusal: PlannedFault::default(),
        };
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// Says which schedulers there are from now on.
    pub fn set_schedulers(&self, names: &[&str]) {
        self.lock().table.set_schedulers(names);
    }

    /// Says how many connections a real server has; one that does not exist stays so.
    pub fn set_connection_counts(
        &self,
        of: &VirtualServer,
        server: &RealServer,
        counts: ConnectionCounts,
    ) {
        if let Some(listed) = self.lock().table.destination_mut(of, server) {
            listed.connections = counts;
        }
    }

    /// Says what a real server has counted; one that does not exist stays so.
    pub fn set_statistics(&self, of: &VirtualServer, server: &RealServer, statistics: Statistics) {
        if let Some(listed) = self.lock().table.destination_mut(of, server) {
            listed.statistics = statistics;
        }
    }

    /// Says what a virtual server has counted; one that does not exist stays so.
    pub fn set_service_statistics(&self, of: &VirtualServer, statistics: Statistics) {
        if let Some(listed) = self.lock().table.service_mut(of) {
            listed.statistics = statistics;
        }
    }

    /// Says which connections are listed.
    pub fn set_connections(&self, connections: Vec<Connection>) {
        self.lock().connections = connections;
    }

    /// Every change so far that was sent, in order, those refused too.
    pub fn changes(&self) -> Vec<Change> {
        self.lock().changes.clone()
    }

    /// Forgets the changes so far.
    pub fn forget_changes(&self) {
        self.lock().changes.clear();
    }

    /// After `successes` more calls, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> IpvsError) {
        self.lock().fault.plan(successes, error);
    }

    /// After `successes` more changes, one is refused because of `cause`.
    pub fn refuse_after(&self, successes: usize, cause: fn() -> Cause) {
        self.lock().refusal.plan(successes, cause);
    }

    /// A poisoned lock means that a test has failed already, and it may still want to look inside.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a question, which is a message by itself.
    fn ask(&self) -> Result<MutexGuard<'_, State>, IpvsError> {
        let mut state = self.lock();
        state.fault.pass()?;
        state.count(1);
        Ok(state)
    }
}

impl State {
    fn count(&mut self, messages: usize) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.traffic.messages += number(messages);
        self.traffic.sends += number(messages.div_ceil(MAX_ORDERS));
    }
}

impl Ipvs for MemoryIpvs {
    fn services(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        Ok(self.ask()?.table.services())
    }

    fn destinations(&mut self, of: &VirtualServer) -> Result<Vec<ListedDestination>, IpvsError> {
        let mut state = self.ask()?;
        let listed = state.table.destinations(of);
        if listed.as_ref().is_none_or(Vec::is_empty) {
            // The kernel is asked once more, whether there is such a virtual server.
            state.count(1);
        }
        listed.ok_or(IpvsError::NotFound { server: *of })
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError> {
        let mut state = self.lock();
        state.fault.pass()?;
        let (mut refused, mut sent) = (Vec::new(), 0);
        for (position, change) in changes.iter().enumerate() {
            let outcome = check(change).and_then(|()| {
                sent += 1;
                state.changes.push(change.clone());
                state.refusal.pass()?;
                state.table.change(change)
            });
            if let Err(cause) = outcome {
                refused.push(Refused {
                    position,
                    change: change.clone(),
                    cause,
                });
            }
        }
        state.count(sent);
        Ok(refused)
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        Ok(self.ask()?.timeouts)
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError> {
        let mut state = self.ask()?;
        let Timeouts {
            tcp_seconds,
            tcp_fin_seconds,
            udp_seconds,
        } = *timeouts;
        let wanted = [tcp_seconds, tcp_fin_seconds, udp_seconds];
        if wanted.iter().any(|seconds| *seconds > MAX_TIMEOUT_SECONDS) {
            return Err(IpvsError::InvalidTimeouts);
        }
        let kept = &mut state.timeouts;
        for (kept, wanted) in [
            (&mut kept.tcp_seconds, tcp_seconds),
            (&mut kept.tcp_fin_seconds, tcp_fin_seconds),
            (&mut kept.udp_seconds, udp_seconds),
        ] {
            if wanted != 0 {
                *kept = wanted;
            }
        }
        Ok(())
    }

    fn info(&mut self) -> Result<Info, IpvsError> {
        drop(self.ask()?);
        Ok(Info {
            version: (1, 2, 1),
            connection_table_size: 4096,
        })
    }

    fn connections(&mut self, visit: &mut dyn FnMut(&Connection)) -> Result<(), IpvsError> {
        let connections = {
            let mut state = self.lock();
            state.fault.pass()?;
            state.connections.clone()
        };
        connections.iter().for_each(visit);
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.lock().traffic
    }
}
