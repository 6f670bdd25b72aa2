//! The table of virtual servers, and what the kernel makes of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::{
    Cause, Change, ConnectionCounts, Destination, ListedDestination, ListedService, RealServer,
    Service, Statistics, VirtualServer,
};

/// The kernel's weight is an `int`.
const MAX_WEIGHT: u32 = i32::MAX.unsigned_abs();

#[derive(Debug)]
pub(super) struct Table {
    services: BTreeMap<VirtualServer, Entry>,
    schedulers: BTreeSet<String>,
    /// Connections of real servers that were deleted while they had some.
    retired: BTreeMap<(VirtualServer, RealServer), ConnectionCounts>,
}

#[derive(Debug)]
struct Entry {
    listed: ListedService,
    destinations: BTreeMap<RealServer, ListedDestination>,
}

impl Table {
    pub(super) fn new(schedulers: &[&str]) -> Self {
        let mut table = Self {
            services: BTreeMap::new(),
            schedulers: BTreeSet::new(),
            retired: BTreeMap::new(),
        };
        table.set_schedulers(schedulers);
        table
    }

    pub(super) fn set_schedulers(&mut self, names: &[&str]) {
        self.schedulers = names.iter().map(|name| (*name).to_owned()).collect();
    }

    pub(super) fn services(&self) -> Vec<ListedService> {
        let listed = self.services.values().map(|entry| entry.listed.clone());
        listed.collect()
    }

    /// `None` where there is no such virtual server.
    pub(super) fn destinations(&self, of: &VirtualServer) -> Option<Vec<ListedDestination>> {
        let entry = self.services.get(of)?;
        Some(entry.destinations.values().copied().collect())
    }

    pub(super) fn service_mut(&mut self, of: &VirtualServer) -> Option<&mut ListedService> {
        self.services.get_mut(of).map(|entry| &mut entry.listed)
    }

    pub(super) fn destination_mut(
        &mut self,
        of: &VirtualServer,
        server: &RealServer,
    ) -> Option<&mut ListedDestination> {
        self.services.get_mut(of)?.destinations.get_mut(server)
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<(), Cause> {
        match change {
            Change::NewService(service) => self.create(service),
            Change::SetService(service) => self.set(service),
            Change::DeleteService(server) => self.delete(server),
            Change::NewDestination(of, destination) => self.add(of, destination),
            Change::SetDestination(of, destination) => self.edit(of, destination),
            Change::DeleteDestination(of, server) => self.remove(of, server),
        }
    }

    fn create(&mut self, service: &Service) -> Result<(), Cause> {
        if self.services.contains_key(&service.server) {
            return Err(Cause::Exists);
        }
        self.check_scheduler(service)?;
        let entry = Entry {
            listed: ListedService {
                service: service.clone(),
                statistics: Statistics::default(),
            },
            destinations: BTreeMap::new(),
        };
        self.services.insert(service.server, entry);
        Ok(())
    }

    fn set(&mut self, service: &Service) -> Result<(), Cause> {
        self.entry(&service.server)?;
        self.check_scheduler(service)?;
        self.entry(&service.server)?.listed.service = service.clone();
        Ok(())
    }

    fn delete(&mut self, server: &VirtualServer) -> Result<(), Cause> {
        let removed = self.services.remove(server);
        let entry = removed.ok_or(Cause::NoSuchVirtualServer)?;
        for destination in entry.destinations.values() {
            self.retire(server, destination);
        }
        Ok(())
    }

    fn add(&mut self, of: &VirtualServer, destination: &Destination) -> Result<(), Cause> {
        let entry = self.entry(of)?;
        check_range(destination)?;
        if entry.destinations.contains_key(&destination.server) {
            return Err(Cause::Exists);
        }
        if !is_unicast(destination.server.address) {
            return Err(Cause::BadAddress);
        }
        let connections = self.retired.remove(&(*of, destination.server));
        let listed = ListedDestination {
            destination: *destination,
            connections: connections.unwrap_or_default(),
            statistics: Statistics::default(),
        };
        self.entry(of)?
            .destinations
            .insert(destination.server, listed);
        Ok(())
    }

    fn edit(&mut self, of: &VirtualServer, destination: &Destination) -> Result<(), Cause> {
        let entry = self.entry(of)?;
        check_range(destination)?;
        let listed = entry.destinations.get_mut(&destination.server);
        listed.ok_or(Cause::NoSuchRealServer)?.destination = *destination;
        Ok(())
    }

    fn remove(&mut self, of: &VirtualServer, server: &RealServer) -> Result<(), Cause> {
        let removed = self.entry(of)?.destinations.remove(server);
        let listed = removed.ok_or(Cause::NoSuchRealServer)?;
        self.retire(of, &listed);
        Ok(())
    }

    fn entry(&mut self, server: &VirtualServer) -> Result<&mut Entry, Cause> {
        let entry = self.services.get_mut(server);
        entry.ok_or(Cause::NoSuchVirtualServer)
    }

    fn check_scheduler(&self, service: &Service) -> Result<(), Cause> {
        if self.schedulers.contains(&service.scheduler) {
            Ok(())
        } else {
            Err(Cause::NoSuchScheduler(service.scheduler.clone()))
        }
    }

    fn retire(&mut self, of: &VirtualServer, listed: &ListedDestination) {
        if !listed.connections.is_idle() {
            let key = (*of, listed.destination.server);
            self.retired.insert(key, listed.connections);
        }
    }
}

fn check_range(destination: &Destination) -> Result<(), Cause> {
    let thresholds_fit = destination.lower_threshold <= destination.upper_threshold;
    if destination.weight <= MAX_WEIGHT && thresholds_fit {
        Ok(())
    } else {
        Err(Cause::OutOfRange)
    }
}

/// What the routing table of a node would say: all that is no group, no broadcast and not of one link.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0),
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified() || ip.is_unicast_link_local()),
    }
}
