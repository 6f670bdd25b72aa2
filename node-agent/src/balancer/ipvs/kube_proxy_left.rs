//! What kube-proxy's IPVS mode left beside rules and sets: virtual servers, and addresses of the device that is ours too. Found, and
//! removed.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use sluice_kernel::address_set::{AddressSets, IpProtocol};
use sluice_kernel::conntrack::{Conntrack, Family, Flow};
use sluice_kernel::ipvs::{Cause, Change, Destination, Ipvs, IpvsError, VirtualServer};
use sluice_kernel::links::Links;
use sluice_service_plan::model::Family as PlanFamily;

use super::device::Device;
use super::ledger::Ledger;
use super::names::DEVICE;
use super::own_connections;
use crate::data_plane::DataPlaneError;
use crate::kube_proxy::{Claims, could_have_made};
use crate::stale_flows::{delete_those, is_balanced_by_ipvs};

/// States in which a connection has ended already: IPVS remembers it for a while.
const ENDED: [&str; 2] = ["TIME_WAIT", "CLOSE"];

/// Why not all of it could be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeProxyLeftError {
    /// IPVS, the device, or flows.
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    /// Whose end an address waits for.
    #[error("the node's TCP connections cannot be read in /proc/net")]
    OwnConnections(#[source] io::Error),
}

/// See the module.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KubeProxyLeft {
    /// Virtual servers that are kube-proxy's and not ours.
    servers: Vec<VirtualServer>,
    /// Addresses of the device that are kube-proxy's.
    addresses: Vec<IpAddr>,
    /// Virtual servers that may be kube-proxy's or another's, and why.
    pub unclear: Vec<String>,
    unclear_addresses: HashSet<IpAddr>,
}

/// The doors that it is found and removed through.
pub struct CleaningDoors {
    /// Absent where the kernel has no IPVS.
    pub ipvs: Option<Box<dyn Ipvs>>,
    /// The device.
    pub links: Box<dyn Links>,
    /// Our sets and kube-proxy's.
    pub sets: Box<dyn AddressSets>,
    /// Flows without end.
    pub conntrack: Box<dyn Conntrack>,
}

impl KubeProxyLeft {
    /// Looks through the kernel. kube-proxy's are those that its sets name, with real servers as it makes them; but what is ours by now
    /// is ours alone.
    pub fn find(doors: CleaningDoors, families: &[PlanFamily]) -> Result<Self, DataPlaneError> {
        let CleaningDoors {
            ipvs,
            links,
            mut sets,
            ..
        } = doors;
        let claims = Claims::read(sets.as_mut())?;
        let ours = Ledger::new(sets, families).read()?;
        let mut device = Device::new(links);
        let mut left = Self::default();
        if device.find()? {
            let bound = device.read()?;
            let theirs = bound.addresses.iter().filter(|ip| {
                claims.name_address(ip)
                    && (bound.is_by_kube_proxy(ip, &claims) || !ours.addresses.contains(*ip))
            });
            left.addresses = theirs.copied().collect();
            left.addresses.sort_unstable();
        }
        if let Some(mut ipvs) = ipvs {
            let ours: HashSet<VirtualServer> = ours.servers.iter().map(|one| one.key).collect();
            left.find_servers(ipvs.as_mut(), &claims, &device.read_own()?, &ours)?;
        }
        Ok(left)
    }

    fn find_servers(
        &mut self,
        ipvs: &mut dyn Ipvs,
        claims: &Claims,
        own: &HashSet<IpAddr>,
        ours: &HashSet<VirtualServer>,
    ) -> Result<(), DataPlaneError> {
        for (listed, real_servers) in ipvs.list()? {
            let server = listed.service.server;
            let VirtualServer::Address { address, .. } = server else {
                continue;
            };
            if ours.contains(&server) {
                continue;
            }
            let real_servers = real_servers.iter().map(|one| &one.destination);
            let why = match claims.name(&server, own) {
                true if could_have_made(real_servers) => {
                    self.servers.push(server);
                    continue;
                }
                true => {
                    "kube-proxy's address sets name it, and kube-proxy makes no such real servers"
                }
                false if claims.name_address(&address) => {
                    "it is on an address that kube-proxy bound, and none of kube-proxy's address sets names it"
                }
                false => continue,
            };
            self.unclear.push(format!("{server} ({why})"));
            self.unclear_addresses.insert(address);
        }
        self.servers.sort_unstable();
        Ok(())
    }

    /// Whether kube-proxy left nothing of this kind.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.addresses.is_empty()
    }

    /// What goes, one object a line.
    pub fn objects(&self) -> String {
        let servers = self.servers.iter();
        let servers = servers.map(|server| format!("virtual server {server}\n"));
        let addresses = self.addresses.iter();
        servers
            .chain(addresses.map(|ip| format!("address {ip} of {DEVICE}\n")))
            .collect()
    }

    /// How much there is, for people.
    pub fn counts(&self) -> String {
        format!(
            "{} virtual servers, {} addresses of {DEVICE}",
            self.servers.len(),
            self.addresses.len()
        )
    }

    /// Removes it. Nothing leads new connections there any more; what has some still stays, a virtual server with its address, unless
    /// they are to be `cut`. Returns what stays.
    pub fn remove(
        &self,
        doors: CleaningDoors,
        cut: bool,
    ) -> Result<Vec<String>, KubeProxyLeftError> {
        let mut left = Vec::new();
        if let Some(mut ipvs) = doors.ipvs {
            if !cut {
                self.quiet(ipvs.as_mut())?;
                left = self.in_use(ipvs.as_mut())?;
            }
            let goes = self.servers.iter().filter(|server| !left.contains(server));
            let goes: Vec<Change> = goes.copied().map(Change::DeleteService).collect();
            write(ipvs.as_mut(), &goes)?;
        }
        self.end_flows(doors.conntrack)?;
        let mut needed = self.unclear_addresses.clone();
        needed.extend(left.iter().filter_map(address));
        let mut left: Vec<String> = left.iter().map(|one| format!("{one}")).collect();
        let mut goes = self.addresses.clone();
        goes.retain(|ip| !needed.contains(ip));
        let mut device = Device::new(doors.links);
        if !cut && !goes.is_empty() && device.find().map_err(DataPlaneError::from)? {
            // Where our route is, the address is the node's as before.
            let routed = device.read().map_err(DataPlaneError::from)?.routes;
            let used = own_connections::addresses().map_err(KubeProxyLeftError::OwnConnections)?;
            let breaks = |ip: &IpAddr| used.contains(ip) && !routed.contains_key(ip);
            let (stay, go) = goes.into_iter().partition(breaks);
            goes = go;
            let stay: Vec<IpAddr> = stay;
            left.extend(
                stay.iter()
                    .map(|ip| format!("{ip}, an address of the node's own connections")),
            );
        }
        if !goes.is_empty() {
            device.give_up(&goes).map_err(DataPlaneError::from)?;
        }
        Ok(left)
    }

    /// Lets them take no new connections.
    fn quiet(&self, ipvs: &mut dyn Ipvs) -> Result<(), DataPlaneError> {
        let mut changes = Vec::new();
        for server in self.servers.iter().filter(|server| ends(server)) {
            let listed = match ipvs.destinations(server) {
                Ok(listed) => listed,
                Err(IpvsError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let heavy = listed.iter().map(|one| one.destination);
            let heavy = heavy.filter(|one| one.weight > 0);
            changes.extend(heavy.map(|one| {
                let weight = 0;
                Change::SetDestination(*server, Destination { weight, ..one })
            }));
        }
        write(ipvs, &changes)
    }

    fn in_use(&self, ipvs: &mut dyn Ipvs) -> Result<Vec<VirtualServer>, DataPlaneError> {
        let mut used = HashSet::new();
        ipvs.connections(&mut |one| {
            // A template of persistence has no client's port.
            if one.client.port() != 0 && !ENDED.contains(&one.state.as_str()) {
                let at = one.virtual_server;
                used.insert(VirtualServer::new(one.protocol, at.ip(), at.port()));
            }
        })?;
        let servers = self.servers.iter().filter(|server| ends(server));
        Ok(servers.filter(|one| used.contains(one)).copied().collect())
    }

    /// A sender that goes on would keep its entry, by which no rule leads its datagrams anywhere.
    fn end_flows(&self, mut conntrack: Box<dyn Conntrack>) -> Result<(), DataPlaneError> {
        let endless: HashSet<&VirtualServer> =
            self.servers.iter().filter(|server| !ends(server)).collect();
        let families = endless.iter().map(|server| match server.family() {
            Family::V4 => PlanFamily::V4,
            Family::V6 => PlanFamily::V6,
        });
        let is_led = |flow: &Flow| {
            let (ip, port) = (flow.original.destination, flow.original.destination_port);
            is_balanced_by_ipvs(flow)
                && endless.contains(&VirtualServer::new(flow.protocol, ip, port))
        };
        delete_those(&families.collect(), conntrack.as_mut(), &is_led)?;
        Ok(())
    }
}

/// Its connections have an end.
fn ends(server: &VirtualServer) -> bool {
    !matches!(server, VirtualServer::Address { protocol, .. } if *protocol == IpProtocol::UDP)
}

fn address(server: &VirtualServer) -> Option<IpAddr> {
    match server {
        VirtualServer::Address { address, .. } => Some(*address),
        VirtualServer::Mark { .. } => None,
    }
}

/// What is gone already is no error.
fn write(ipvs: &mut dyn Ipvs, changes: &[Change]) -> Result<(), DataPlaneError> {
    let refused = ipvs.apply(changes)?.into_iter().find(|refused| {
        !matches!(
            refused.cause,
            Cause::NoSuchVirtualServer | Cause::NoSuchRealServer
        )
    });
    match refused {
        Some(refused) => Err(Box::new(refused).into()),
        None => Ok(()),
    }
}
