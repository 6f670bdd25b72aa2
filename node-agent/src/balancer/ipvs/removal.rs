//! The end of all that is ours. What kube-proxy's sets name is kube-proxy's too, which may serve by it already: it stays.

use std::collections::HashSet;
use std::net::IpAddr;

use sluice_kernel::ipvs::Change;
use sluice_kernel::links::{LinkError, RouteFilter, named};

use super::IpvsBalancer;
use super::device::{Device, PROTOCOL_KERNEL};
use super::draining::Draining;
use super::names::DEVICE;
use crate::data_plane::DataPlaneError;
use crate::kube_proxy::Claims;

impl IpvsBalancer {
    pub(super) fn remove_all(&mut self) -> Vec<DataPlaneError> {
        let mut errors = Vec::new();
        if let Err(error) = self.try_remove(&mut errors) {
            errors.push(error);
        }
        // Without the sets nobody could tell later what was ours.
        if errors.is_empty() {
            errors.extend(self.ledger.remove().into_iter().map(DataPlaneError::from));
        }
        self.draining = Draining::default();
        self.plan = None;
        self.retired = None;
        errors
    }

    fn try_remove(&mut self, errors: &mut Vec<DataPlaneError>) -> Result<(), DataPlaneError> {
        let holdings = self.ledger.read()?;
        let claims = self.ledger.claims_of_kube_proxy()?;
        let own = self.vips.read_own()?;
        let ours = holdings.servers.iter().map(|server| server.key);
        let ours = ours.filter(|server| !claims.name(server, &own));
        let changes: Vec<Change> = ours.map(Change::DeleteService).collect();
        errors.extend(self.servers.write_departures(&changes).err());
        let links = self.vips.remove(&holdings.addresses, &claims);
        errors.extend(links.into_iter().map(DataPlaneError::from));
        Ok(())
    }
}

impl Device {
    /// Unbinds what is ours, and deletes the device unless others use it.
    pub(super) fn remove(&mut self, ours: &HashSet<IpAddr>, claims: &Claims) -> Vec<LinkError> {
        let mut errors = Vec::new();
        if let Err(error) = self.try_remove(ours, claims, &mut errors) {
            errors.push(error);
        }
        errors
    }

    fn try_remove(
        &mut self,
        ours: &HashSet<IpAddr>,
        claims: &Claims,
        errors: &mut Vec<LinkError>,
    ) -> Result<(), LinkError> {
        if !self.find()? {
            return Ok(());
        }
        self.delete_detours()?;
        let bound = self.read()?;
        let (left, addresses): (Vec<IpAddr>, Vec<IpAddr>) = bound
            .addresses
            .iter()
            .filter(|ip| ours.contains(*ip))
            .partition(|ip| claims.name_address(ip));
        let without_route: Vec<IpAddr> = left
            .into_iter()
            .filter(|ip| !bound.shadowed.contains(ip))
            .collect();
        errors.extend(self.restore_shadows(&without_route).err());
        let routes: Vec<IpAddr> = bound.routes.into_keys().collect();
        errors.extend(self.delete_routes(&routes).err());
        errors.extend(self.delete_addresses(&addresses).err());
        self.remove_if_unused()
    }

    /// Takes addresses of another's off the device, which goes with the last of them unless we use it. Our routes hold all the while.
    pub(super) fn give_up(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        if !self.find()? {
            return Ok(());
        }
        let routes: Vec<_> = self.read()?.routes.into_iter().collect();
        self.leave_routes_only(addresses, &routes)?;
        self.remove_if_unused()
    }

    /// Looks for the device, and makes none.
    pub(super) fn find(&mut self) -> Result<bool, LinkError> {
        self.index = named(&self.links.links()?, DEVICE).map(|link| link.index);
        Ok(self.index.is_some())
    }

    pub(super) fn remove_if_unused(&mut self) -> Result<(), LinkError> {
        let Some(index) = self.index else {
            return Ok(());
        };
        let left = RouteFilter {
            interface: Some(index),
            ..RouteFilter::default()
        };
        let routes_left = self.links.routes_of(&left)?;
        let used = !self.read()?.addresses.is_empty()
            || routes_left
                .iter()
                .any(|route| route.protocol != PROTOCOL_KERNEL);
        if !used {
            self.links.delete_link(index)?;
            self.index = None;
        }
        Ok(())
    }
}
