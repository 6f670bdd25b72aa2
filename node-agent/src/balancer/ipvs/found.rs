//! What of ours the kernel holds, read as a whole and compared with what it has to hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use sluice_kernel::address_set::Entry;
use sluice_kernel::ipvs::{Service, VirtualServer};

use super::desired::Desired;
use super::ledger::Ledger;
use super::others::Seen;
use super::server::Server;
use super::servers::Servers;
use super::steps::{Held, Steps, address};
use super::vips::Vips;
use crate::data_plane::DataPlaneError;

/// What is left to be compared.
pub(super) struct Found {
    servers: BTreeMap<Server, Service>,
    /// In the ledger, not in the listing.
    missing: HashSet<Server>,
    /// Frontends with their marks.
    pub(super) inside: HashMap<Entry, u32>,
    /// Addresses that we may have bound.
    pub(super) addresses: HashSet<IpAddr>,
}

impl Found {
    /// Reads the ledger and the table. Returns the virtual servers of others too.
    pub(super) fn read(
        servers: &mut Servers,
        ledger: &mut Ledger,
    ) -> Result<(Self, Seen), DataPlaneError> {
        let holdings = ledger.read()?;
        let mut by_key: HashMap<VirtualServer, Server> =
            holdings.servers.into_iter().map(|s| (s.key, s)).collect();
        let mut ours = BTreeMap::new();
        let mut others = Seen::new();
        for listed in servers.list()? {
            match by_key.remove(&listed.service.server) {
                Some(server) => {
                    ours.insert(server, listed.service);
                }
                None => {
                    others.insert(listed.service.server, Some(listed.service));
                }
            }
        }
        let found = Self {
            servers: ours,
            missing: by_key.into_values().collect(),
            inside: holdings.inside,
            addresses: holdings.addresses,
        };
        Ok((found, others))
    }

    /// Compares with what some services ask for.
    pub(super) fn compare(
        &mut self,
        desired: &Desired,
        servers: &mut Servers,
        steps: &mut Steps,
    ) -> Result<(), DataPlaneError> {
        for (server, wanted) in &desired.servers {
            if let Some(held) = servers.claimed(&server.key)? {
                steps.take_over(*server, wanted, &held);
                continue;
            }
            if servers.others.contest(&server.key, true) {
                continue;
            }
            let held = self.held(server, servers)?;
            if held.is_some() {
                steps.claims.extend(server.address());
            }
            steps.put(*server, Some(wanted), held.as_ref());
        }
        let held: BTreeMap<Entry, u32> = desired
            .inside
            .keys()
            .filter_map(|entry| Some((*entry, self.inside.remove(entry)?)))
            .collect();
        steps.claims.extend(held.keys().filter_map(address));
        steps.put_marks(&desired.inside, &held);
        Ok(())
    }

    /// What is left is asked for by nobody. Of what no packet reaches any more nothing is kept.
    pub(super) fn compare_rest(
        mut self,
        servers: &mut Servers,
        vips: &Vips,
        steps: &mut Steps,
    ) -> Result<(), DataPlaneError> {
        let left: BTreeSet<Server> = self.servers.keys().chain(&self.missing).copied().collect();
        for server in left {
            let Some(mut held) = self.held(&server, servers)? else {
                steps.struck.push(server);
                continue;
            };
            if !vips.is_reached(&server) {
                held = Held::default();
            }
            let before = steps.deleted.len();
            steps.put(server, None, Some(&held));
            if steps.deleted.len() == before {
                steps.claims.extend(server.address());
            }
            steps.struck.extend(steps.deleted.drain(before..));
        }
        let inside: BTreeMap<Entry, u32> = self.inside.into_iter().collect();
        steps.claims.extend(inside.keys().filter_map(address));
        steps.put_marks(&BTreeMap::new(), &inside);
        Ok(())
    }

    /// Takes one out, with its real servers. The kernel may leave out one that is there while others are deleted during the listing, so
    /// each that is missing is asked for by itself.
    fn held(
        &mut self,
        server: &Server,
        servers: &mut Servers,
    ) -> Result<Option<Held>, DataPlaneError> {
        let service = self.servers.remove(server);
        if service.is_none() && !self.missing.remove(server) {
            return Ok(None);
        }
        let Some(listed) = servers.destinations(&server.key)? else {
            return Ok(None);
        };
        let destinations = listed.into_iter().map(|listed| listed.destination);
        Ok(Some(Held {
            service,
            destinations: destinations.map(|d| (d.server, d)).collect(),
        }))
    }
}
