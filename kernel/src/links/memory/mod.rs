//! The twin of [`NetlinkLinks`](super::NetlinkLinks) in memory.

mod network;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{InterfaceAddress, Link, LinkError, Links, RefusedObject, Route, RouteFilter};
use crate::fault::PlannedFault;
use network::Network;

/// [`Links`] in memory. Clones are handles to the same links, so a test can look inside and change them beside the code under test.
///
/// Addresses and routes go as the kernel lets them go, with links and with source addresses. Routes that the kernel makes of
/// its own are not made here.
#[derive(Debug, Clone, Default)]
pub struct MemoryLinks {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    network: Network,
    failures: Vec<(LinkOperation, LinkError)>,
    fault: PlannedFault<LinkError>,
    changes: u64,
    routes_told: u64,
}

/// A call of [`Links`] that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOperation {
    /// All that list.
    List,
    /// `add_dummy`, `delete_link`, `set_hairpin`, `set_up`
    ChangeLink,
    /// All that add or delete addresses.
    ChangeAddress,
    /// All that add or delete routes.
    ChangeRoute,
}

impl MemoryLinks {
    /// A node without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a link there, in place of one of the same index.
    pub fn put_link(&self, link: Link) {
        self.lock().network.put_link(link);
    }

    /// Takes a link away, its addresses and routes with it.
    pub fn remove_link(&self, index: u32) {
        self.lock().network.remove_link(index);
    }

    /// Makes the next call of `operation` fail; several are used up in turn.
    pub fn fail_next(&self, operation: LinkOperation, error: LinkError) {
        self.lock().failures.push((operation, error));
    }

    /// After `successes` more calls, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> LinkError) {
        self.lock().fault.plan(successes, error);
    }

    /// Objects that were asked to be made, changed or deleted so far, in calls that did not fail.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Routes that were told so far: what listing them costs.
    pub fn routes_told(&self) -> u64 {
        self.lock().routes_told
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Result<MutexGuard<'_, Shared>, LinkError> {
        self.begin(LinkOperation::List, 0)
    }

    fn begin(
        &self,
        operation: LinkOperation,
        objects: usize,
    ) -> Result<MutexGuard<'_, Shared>, LinkError> {
        let mut shared = self.lock();
        shared.fault.pass()?;
        if let Some(index) = shared.failures.iter().position(|(o, _)| *o == operation) {
            return Err(shared.failures.remove(index).1);
        }
        shared.changes += u64::try_from(objects).unwrap_or(u64::MAX);
        Ok(shared)
    }

    /// Does `change` to each object.
    fn batch<T, R>(
        &self,
        operation: LinkOperation,
        objects: &[T],
        change: impl Fn(&mut Network, &T) -> Result<R, LinkError>,
    ) -> Result<Vec<RefusedObject>, LinkError> {
        let mut shared = self.begin(operation, objects.len())?;
        let refused = |(position, object)| {
            let error = change(&mut shared.network, object).err()?;
            Some(RefusedObject { position, error })
        };
        Ok(objects.iter().enumerate().filter_map(refused).collect())
    }
}

impl Links for MemoryLinks {
    fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        Ok(self.list()?.network.links().cloned().collect())
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError> {
        Ok(self.list()?.network.addresses().collect())
    }

    fn addresses_of(&mut self, interface: u32) -> Result<Vec<InterfaceAddress>, LinkError> {
        let shared = self.list()?;
        let of_it = |address: &InterfaceAddress| address.interface == interface;
        Ok(shared.network.addresses().filter(of_it).collect())
    }

    fn routes_of(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, LinkError> {
        let mut shared = self.list()?;
        let wanted = |route: &Route| filter.matches(route);
        let routes: Vec<Route> = shared.network.routes().filter(wanted).collect();
        shared.routes_told += routes.len() as u64;
        Ok(routes)
    }

    fn add_dummy(&mut self, name: &str) -> Result<u32, LinkError> {
        self.begin(LinkOperation::ChangeLink, 1)?
            .network
            .add_dummy(name)
    }

    fn delete_link(&mut self, interface: u32) -> Result<bool, LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeLink, 1)?;
        Ok(shared.network.remove_link(interface))
    }

    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeLink, 1)?;
        let link = shared.network.link(interface)?;
        if link.hairpin.is_none() {
            return Err(LinkError::NotABridgePort { interface });
        }
        link.hairpin = Some(on);
        Ok(())
    }

    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError> {
        self.begin(LinkOperation::ChangeLink, 1)?
            .network
            .set_up(interface, up)
    }

    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        self.begin(LinkOperation::ChangeAddress, 1)?
            .network
            .add_address(address)
    }

    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeAddress, 1)?;
        Ok(shared.network.delete_address(address))
    }

    fn add_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        self.batch(
            LinkOperation::ChangeAddress,
            addresses,
            Network::add_address,
        )
    }

    fn delete_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        self.batch(
            LinkOperation::ChangeAddress,
            addresses,
            |network, address| Ok(network.delete_address(address)),
        )
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError> {
        self.begin(LinkOperation::ChangeRoute, 1)?
            .network
            .put_route(route)
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeRoute, 1)?;
        Ok(shared.network.delete_route(route))
    }

    fn add_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        self.batch(LinkOperation::ChangeRoute, routes, Network::put_route)
    }

    fn delete_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        self.batch(LinkOperation::ChangeRoute, routes, |network, route| {
            Ok(network.delete_route(route))
        })
    }
}
