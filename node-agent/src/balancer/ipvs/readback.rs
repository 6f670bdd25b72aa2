//! What of ours the kernel's IPVS holds, for people and for comparison: read, and nothing written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use sluice_kernel::address_set::{AddressSets, Entry, Family, IpProtocol, IpsetNetlink};
use sluice_kernel::ipvs::{
    Ipvs, IpvsError, IpvsNetlink, ListedDestination, ListedService, VirtualServer,
};
use sluice_kernel::links::{LinkError, Links, NetlinkLinks, RouteFilter, named};

use super::device::{PROTOCOL_KERNEL, TABLE_LOCAL};
use super::ledger::Ledger;
use super::names::{DEVICE, ROUTE_PROTOCOL};
use super::server::Server;
use crate::data_plane::DataPlaneError;
use crate::family::plan_family;

/// What is ours, and how much beside it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readback {
    /// Virtual servers with their real servers.
    pub servers: BTreeMap<ServerKey, HeldServer>,
    /// Virtual servers that should be there and are not.
    pub missing: Vec<ServerKey>,
    /// Frontends whose inside clients have a pool of their own, with the mark that leads to it.
    pub inside: BTreeMap<Entry, u32>,
    /// Addresses that are taken as the node's.
    pub bindings: BTreeMap<IpAddr, Binding>,
    /// Virtual servers of others.
    pub foreign_servers: BTreeSet<VirtualServer>,
    /// What others have on our device.
    pub foreign_on_device: Vec<String>,
}

/// Which virtual server, and the protocol of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// Which.
    pub server: VirtualServer,
    /// One by mark does not tell it itself.
    pub protocol: IpProtocol,
}

/// A virtual server as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldServer {
    /// Itself.
    pub service: ListedService,
    /// Its real servers, in order.
    pub real_servers: Vec<ListedDestination>,
}

/// How an address is taken as the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A local route, with the source of the node's own packets.
    Route {
        /// Absent: the kernel's choice.
        source: Option<IpAddr>,
    },
    /// An address of the device, and such a route.
    Address {
        /// Absent: the kernel's choice.
        source: Option<IpAddr>,
    },
}

impl Readback {
    /// Reads this node's kernel, in the network namespace of the calling thread. No module is loaded for it.
    pub fn of_this_node(families: &[Family]) -> Result<Self, DataPlaneError> {
        let mut ipvs = match IpvsNetlink::open() {
            Ok(door) => Some(door),
            Err(IpvsError::Absent) => None,
            Err(error) => return Err(error.into()),
        };
        let ipvs = ipvs.as_mut().map(|door| -> &mut dyn Ipvs { door });
        let sets = Box::new(IpsetNetlink::open()?);
        Self::read(sets, ipvs, &mut NetlinkLinks::open()?, families)
    }

    /// Reads what is behind these doors; without IPVS none of its servers is there.
    pub fn read(
        sets: Box<dyn AddressSets>,
        ipvs: Option<&mut dyn Ipvs>,
        links: &mut dyn Links,
        families: &[Family],
    ) -> Result<Self, DataPlaneError> {
        let families: Vec<_> = families.iter().copied().map(plan_family).collect();
        let holdings = Ledger::new(sets, &families).read()?;
        let mut read = Self {
            inside: holdings.inside.into_iter().collect(),
            ..Self::default()
        };
        let mut ours: HashMap<VirtualServer, Server> =
            holdings.servers.into_iter().map(|s| (s.key, s)).collect();
        if let Some(ipvs) = ipvs {
            read.read_servers(ipvs, &mut ours)?;
        }
        read.missing = ours.into_values().map(key).collect();
        read.missing.sort_unstable();
        read.read_device(links, &|ip| holdings.addresses.contains(&ip))?;
        Ok(read)
    }

    fn read_servers(
        &mut self,
        ipvs: &mut dyn Ipvs,
        ours: &mut HashMap<VirtualServer, Server>,
    ) -> Result<(), DataPlaneError> {
        for service in ipvs.services()? {
            let Some(server) = ours.remove(&service.service.server) else {
                self.foreign_servers.insert(service.service.server);
                continue;
            };
            let mut real_servers = match ipvs.destinations(&server.key) {
                Ok(listed) => listed,
                // Deleted by someone since.
                Err(IpvsError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            real_servers.sort_unstable_by_key(|listed| listed.destination);
            let held = HeldServer {
                service,
                real_servers,
            };
            self.servers.insert(key(server), held);
        }
        Ok(())
    }

    fn read_device(
        &mut self,
        links: &mut dyn Links,
        is_ours: &dyn Fn(IpAddr) -> bool,
    ) -> Result<(), LinkError> {
        let present = links.links()?;
        let Some(device) = named(&present, DEVICE) else {
            return Ok(());
        };
        let on_device = RouteFilter {
            interface: Some(device.index),
            ..RouteFilter::default()
        };
        for route in links.routes_of(&on_device)? {
            if route.protocol == ROUTE_PROTOCOL && route.table == TABLE_LOCAL {
                let source = route.source;
                self.bindings
                    .insert(route.destination.addr(), Binding::Route { source });
            } else if route.protocol != PROTOCOL_KERNEL {
                self.foreign_on_device
                    .push(format!("route to {}", route.destination));
            }
        }
        for address in links.addresses_of(device.index)? {
            match address.address {
                // The kernel gives one to every device.
                IpAddr::V6(ip) if ip.is_unicast_link_local() => {}
                ip if is_ours(ip) => {
                    let source = match self.bindings.get(&ip) {
                        Some(Binding::Route { source }) => *source,
                        _ => None,
                    };
                    self.bindings.insert(ip, Binding::Address { source });
                }
                ip => self.foreign_on_device.push(format!("address {ip}")),
            }
        }
        Ok(())
    }
}

fn key(server: Server) -> ServerKey {
    ServerKey {
        server: server.key,
        protocol: server.protocol,
    }
}
