//! What a data plane counts beside what its reports say.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_kernel::conntrack::{Conntrack, ConntrackError, Family, Flow};
use sluice_kernel::iptables::Table;

/// Since it was asked last.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Programs started, also those that only list.
    pub programs_started: u64,
    /// Looks through connection tracking.
    pub flow_looks: Vec<FlowLook>,
    /// Our rules, table by table.
    pub rules: Vec<TableRules>,
}

/// One look through the connection tracking entries of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowLook {
    /// Which.
    pub family: Family,
    /// The listing, and the deletion of what was found.
    pub took: Duration,
    /// Entries deleted.
    pub deleted: u64,
}

/// Rules of ours in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRules {
    /// Family.
    pub family: Family,
    /// Table.
    pub table: Table,
    /// In the kernel.
    pub present: u64,
    /// Written since the last time.
    pub written: u64,
}

/// The looks that were taken, for those who take them and those who count them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlowLooks(Arc<Mutex<Vec<FlowLook>>>);

impl FlowLooks {
    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<FlowLook> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, family: Family, took: Duration, deleted: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.push(FlowLook {
            family,
            took,
            deleted,
        });
    }

    /// A deletion belongs to the look that found the entries.
    fn add_deletion(&self, family: Family, took: Duration, deleted: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = looks.iter_mut().rfind(|look| look.family == family) {
            look.took += took;
            look.deleted += deleted;
        }
    }
}

/// Connection tracking whose looks are counted.
pub(crate) struct CountedConntrack {
    kernel: Box<dyn Conntrack>,
    looks: FlowLooks,
}

impl CountedConntrack {
    pub(crate) fn new(kernel: Box<dyn Conntrack>, looks: FlowLooks) -> Self {
        Self { kernel, looks }
    }
}

impl Conntrack for CountedConntrack {
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError> {
        let start = Instant::now();
        let listed = self.kernel.list(family, visit);
        self.looks.add(family, start.elapsed(), 0);
        listed
    }

    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        let start = Instant::now();
        let deleted = self.kernel.delete(flows)?;
        if let Some(flow) = flows.first() {
            self.looks
                .add_deletion(flow.family, start.elapsed(), deleted as u64);
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use sluice_kernel::conntrack::{IpProtocol, MemoryConntrack, Tuple};

    use super::*;

    #[test]
    fn a_look_is_counted_with_what_it_deleted_and_told_once() {
        let tuple = Tuple {
            source: "10.1.0.5".parse().unwrap(),
            destination: "10.96.0.10".parse().unwrap(),
            source_port: 4000,
            destination_port: 53,
        };
        let flow = Flow {
            family: Family::V4,
            protocol: IpProtocol::UDP,
            original: tuple,
            reply: tuple,
            zone: 0,
            destination_translated: true,
            source_translated: false,
        };
        let kernel = MemoryConntrack::new();
        kernel.insert(flow);
        let looks = FlowLooks::default();
        let mut counted = CountedConntrack::new(Box::new(kernel), looks.clone());
        counted.list(Family::V6, &mut |_| {}).unwrap();
        counted.list(Family::V4, &mut |_| {}).unwrap();
        counted.delete(&[flow]).unwrap();
        let deleted: Vec<_> = looks
            .take()
            .iter()
            .map(|look| (look.family, look.deleted))
            .collect();
        assert_eq!(deleted, [(Family::V6, 0), (Family::V4, 1)]);
        assert!(looks.take().is_empty());
    }
}
