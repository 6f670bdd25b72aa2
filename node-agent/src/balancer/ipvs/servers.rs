//! Writes to the kernel's table of virtual servers, and what the kernel refuses of them.

use std::collections::{BTreeMap, BTreeSet};

use sluice_kernel::ipvs::{
    Cause, Change, Ipvs, IpvsError, ListedDestination, ListedService, RealServer, Refused,
    SchedulerFlags, Service, Timeouts, VirtualServer,
};
use sluice_service_plan::model::IpvsTimeouts;

use super::desired::fallback;
use super::others::Others;
use crate::data_plane::DataPlaneError;

/// The door, and what does not go through it.
pub(super) struct Servers {
    kernel: Box<dyn Ipvs>,
    /// Schedulers that the kernel has not.
    lacking: BTreeSet<String>,
    /// Virtual servers that others made.
    pub(super) others: Others,
    refused: BTreeMap<(VirtualServer, RealServer), Cause>,
    written: u64,
}

impl Servers {
    pub(super) fn new(kernel: Box<dyn Ipvs>) -> Self {
        Self {
            kernel,
            lacking: BTreeSet::new(),
            others: Others::default(),
            refused: BTreeMap::new(),
            written: 0,
        }
    }

    pub(super) fn lacking(&self) -> &BTreeSet<String> {
        &self.lacking
    }

    pub(super) fn list(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        self.kernel.services()
    }

    /// The real servers of one virtual server; absent where it is gone.
    pub(super) fn destinations(
        &mut self,
        of: &VirtualServer,
    ) -> Result<Option<Vec<ListedDestination>>, IpvsError> {
        match self.kernel.destinations(of) {
            Ok(listed) => Ok(Some(listed)),
            Err(IpvsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets which real servers were refused: they are tried again.
    pub(super) fn forget_refused(&mut self) {
        self.refused.clear();
    }

    /// The kernel did not take this real server.
    pub(super) fn has_refused(&self, arrival: &Change) -> bool {
        match arrival {
            Change::NewDestination(of, new) | Change::SetDestination(of, new) => {
                self.refused.contains_key(&(*of, new.server))
            }
            _ => false,
        }
    }

    /// Creates virtual servers and sets how they balance. Returns those that another made meanwhile.
    pub(super) fn write_services(
        &mut self,
        changes: &[Change],
    ) -> Result<Vec<VirtualServer>, DataPlaneError> {
        let mut foreign = Vec::new();
        let mut again = Vec::new();
        for refused in self.send(changes)? {
            match (&refused.cause, &refused.change) {
                (Cause::NoSuchScheduler(name), change) if fallback(name) != name => {
                    again.extend(instead(change, fallback(name)));
                    self.lacking.insert(name.clone());
                }
                (Cause::Exists, change) => foreign.push(change.virtual_server()),
                _ => return Err(Box::new(refused).into()),
            }
        }
        if !again.is_empty() {
            foreign.extend(self.write_services(&again)?);
        }
        self.others.came(&foreign);
        Ok(foreign)
    }

    /// Writes real servers. One that the kernel does not take is left out, and told as a condition; the others serve.
    pub(super) fn write_arrivals(&mut self, changes: &[Change]) -> Result<(), DataPlaneError> {
        let mut again = Vec::new();
        for refused in self.send(changes)? {
            match (&refused.cause, &refused.change) {
                (Cause::Exists, Change::NewDestination(of, new)) => {
                    again.push(Change::SetDestination(*of, *new));
                }
                (
                    Cause::BadAddress | Cause::Invalid(_),
                    Change::NewDestination(of, new) | Change::SetDestination(of, new),
                ) => {
                    self.refused.insert((*of, new.server), refused.cause);
                }
                _ => return Err(Box::new(refused).into()),
            }
        }
        if again.is_empty() {
            Ok(())
        } else {
            self.write_arrivals(&again)
        }
    }

    /// Lets go. What is gone already is no error.
    pub(super) fn write_departures(&mut self, changes: &[Change]) -> Result<(), DataPlaneError> {
        if !self.refused.is_empty() {
            let gone = |of: &VirtualServer, server: &RealServer| {
                changes.iter().any(|change| match change {
                    Change::DeleteService(it) => it == of,
                    Change::SetDestination(it, new) => it == of && new.server == *server,
                    Change::DeleteDestination(it, it_too) => it == of && it_too == server,
                    _ => false,
                })
            };
            self.refused.retain(|(of, server), _| !gone(of, server));
        }
        let fatal = |refused: &Refused| {
            !matches!(
                refused.cause,
                Cause::NoSuchVirtualServer | Cause::NoSuchRealServer
            )
        };
        match self.send(changes)?.into_iter().find(fatal) {
            Some(refused) => Err(Box::new(refused).into()),
            None => Ok(()),
        }
    }

    /// Sets the lifetimes that differ. Absent ones stay as they are.
    pub(super) fn set_timeouts(&mut self, wanted: &IpvsTimeouts) -> Result<(), IpvsError> {
        let present = self.kernel.timeouts()?;
        let differing = |wanted: Option<u32>, present: u32| {
            wanted.filter(|seconds| *seconds != present).unwrap_or(0)
        };
        let change = Timeouts {
            tcp_seconds: differing(wanted.tcp, present.tcp_seconds),
            tcp_fin_seconds: differing(wanted.tcp_fin, present.tcp_fin_seconds),
            udp_seconds: differing(wanted.udp, present.udp_seconds),
        };
        if change != Timeouts::default() {
            self.written += 1;
            self.kernel.set_timeouts(&change)?;
        }
        Ok(())
    }

    /// Changes sent since the start.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// What is not as the services want it.
    pub(super) fn conditions(&self) -> impl Iterator<Item = String> {
        let schedulers = self.lacking.iter().map(|name| {
            format!(
                "the kernel has no IPVS scheduler {name:?}: services that want it run {}; \
                 install the module ip_vs_{name} and restart the agent, or choose another",
                fallback(name)
            )
        });
        let contested = self.others.contested().iter().map(|server| {
            format!(
                "virtual server {server} is another program's: it is left alone, and the service is not served \
                 there; delete it (ipvsadm -D), or list its network in ipvs.excludeCIDRs"
            )
        });
        let refused = self.refused.iter().map(|((of, server), cause)| {
            format!("real server {server} of {of} is left out: {cause}")
        });
        schedulers.chain(contested).chain(refused)
    }

    fn send(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.written += changes.len() as u64;
        self.kernel.apply(changes)
    }
}

/// The same change with another scheduler, whose flags mean other things.
fn instead(change: &Change, scheduler: &str) -> Option<Change> {
    let with_it = |service: &Service| Service {
        scheduler: scheduler.to_owned(),
        scheduler_flags: SchedulerFlags::default(),
        ..service.clone()
    };
    match change {
        Change::NewService(service) => Some(Change::NewService(with_it(service))),
        Change::SetService(service) => Some(Change::SetService(with_it(service))),
        _ => None,
    }
}
