//! The device that service addresses are bound to, and the two ways to bind them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use sluice_kernel::links::{
    InterfaceAddress, LinkError, Links, RefusedObject, Route, RouteFilter, RouteKind, named,
};

use sluice_service_plan::model::VipBinding;

use super::names::{DEVICE, ROUTE_PROTOCOL};
use crate::data_plane::Drift;
use crate::family::is_link_local;
use crate::kube_proxy::Claims;

const LOOPBACK: &str = "lo";
/// Table `local` (`RT_TABLE_LOCAL`).
pub(super) const TABLE_LOCAL: u32 = 255;
/// `RTPROT_KERNEL`: routes that come with addresses.
pub(super) const PROTOCOL_KERNEL: u8 = 2;
/// Behind the kernel's own routes to the same address, which have none, and those that others made without one, which the kernel takes for 1024 in
/// IPv6: at the same metric ours would replace theirs.
const METRIC: u32 = 1124;

/// The device, once it was opened.
pub(super) struct Device {
    pub(super) links: Box<dyn Links>,
    pub(super) index: Option<u32>,
}

/// Source of the node's own packets to a bound address; none leaves it to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source(pub(super) Option<IpAddr>);

/// What is bound to the device.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// Whoever bound them; link-local ones left out, which the kernel gives every device.
    pub(super) addresses: HashSet<IpAddr>,
    /// By us, with the source of the node's own packets.
    pub(super) routes: HashMap<IpAddr, Source>,
    /// Addresses to which the kernel's own route is there. It comes before ours and has the address itself for a source.
    pub(super) shadowed: HashSet<IpAddr>,
}

impl Bound {
    /// Whether kube-proxy bound an address: its set names it, and the kernel's route is there, which goes where we bind one.
    pub(super) fn is_by_kube_proxy(&self, ip: &IpAddr, claims: &Claims) -> bool {
        claims.name_address(ip) && self.shadowed.contains(ip)
    }
}

impl Device {
    pub(super) fn new(links: Box<dyn Links>) -> Self {
        Self { links, index: None }
    }

    /// Makes the device where it is missing, and takes it up.
    pub(super) fn open(&mut self) -> Result<(), LinkError> {
        let index = self.links.add_dummy(DEVICE)?;
        self.index = Some(index);
        let links = self.links.links()?;
        if named(&links, DEVICE).is_some_and(|link| !link.up) {
            self.links.set_up(index, true)?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self) -> Result<Bound, LinkError> {
        let Some(index) = self.index else {
            return Ok(Bound::default());
        };
        let made_by = |protocol| RouteFilter {
            table: Some(TABLE_LOCAL),
            protocol: Some(protocol),
            interface: Some(index),
        };
        let routes = self.links.routes_of(&made_by(ROUTE_PROTOCOL))?;
        let addresses = self.links.addresses_of(index)?;
        let shadows = if addresses.is_empty() {
            Vec::new()
        } else {
            self.links.routes_of(&made_by(PROTOCOL_KERNEL))?
        };
        Ok(Bound {
            shadowed: shadows
                .into_iter()
                .map(|route| route.destination.addr())
                .collect(),
            addresses: addresses
                .into_iter()
                .map(|address| address.address)
                .filter(|ip| !is_link_local(ip))
                .collect(),
            routes: routes
                .into_iter()
                .map(|route| (route.destination.addr(), Source(route.source)))
                .collect(),
        })
    }

    /// The way in which addresses of ours are bound now.
    pub(super) fn binding(
        &mut self,
        ours: &HashSet<IpAddr>,
        claims: &Claims,
    ) -> Result<VipBinding, LinkError> {
        let bound = self.read()?;
        let mut addresses = bound.addresses.intersection(ours);
        Ok(if addresses.any(|ip| !bound.is_by_kube_proxy(ip, claims)) {
            VipBinding::Dummy
        } else {
            VipBinding::LocalRoute
        })
    }

    /// Addresses of the other devices.
    pub(super) fn read_own(&mut self) -> Result<HashSet<IpAddr>, LinkError> {
        let index = named(&self.links.links()?, DEVICE).map(|link| link.index);
        let all = self.links.addresses()?.into_iter();
        let own = all.filter(|held| Some(held.interface) != index);
        Ok(own.map(|held| held.address).collect())
    }

    pub(super) fn add_routes(
        &mut self,
        addresses: &[(IpAddr, Source)],
    ) -> Result<Vec<(IpAddr, LinkError)>, LinkError> {
        let index = self.index()?;
        let routes: Vec<Route> = addresses
            .iter()
            .map(|(ip, source)| route(index, *ip, *source))
            .collect();
        let refused = if routes.is_empty() {
            Vec::new()
        } else {
            self.links.add_routes(&routes)?
        };
        Ok(by_address(refused, |at| {
            addresses.get(at).map(|(ip, _)| *ip)
        }))
    }

    pub(super) fn add_addresses(
        &mut self,
        addresses: &[IpAddr],
    ) -> Result<Vec<(IpAddr, LinkError)>, LinkError> {
        let index = self.index()?;
        let batch: Vec<_> = addresses.iter().map(|ip| address(index, *ip)).collect();
        let refused = if batch.is_empty() {
            Vec::new()
        } else {
            self.links.add_addresses(&batch)?
        };
        Ok(by_address(refused, |at| addresses.get(at).copied()))
    }

    /// Deletes the kernel's own routes to addresses of the device, so that ours are followed.
    pub(super) fn delete_shadows(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let index = self.index()?;
        let routes: Vec<Route> = addresses
            .iter()
            .map(|ip| of_kernel(index, *ip, None))
            .collect();
        if routes.is_empty() {
            return Ok(());
        }
        first(self.links.delete_routes(&routes)?)
    }

    /// Gives the kernel's own routes back, as they come with addresses.
    pub(super) fn restore_shadows(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let index = self.index()?;
        let source = |ip: &IpAddr| ip.is_ipv4().then_some(*ip);
        let routes: Vec<Route> = addresses
            .iter()
            .map(|ip| of_kernel(index, *ip, source(ip)))
            .collect();
        if routes.is_empty() {
            return Ok(());
        }
        first(self.links.add_routes(&routes)?)
    }

    pub(super) fn delete_routes(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let index = self.index()?;
        let routes: Vec<Route> = addresses
            .iter()
            .map(|ip| route(index, *ip, Source(None)))
            .collect();
        if routes.is_empty() {
            return Ok(());
        }
        first(self.links.delete_routes(&routes)?)
    }

    pub(super) fn delete_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let index = self.index()?;
        let batch: Vec<_> = addresses.iter().map(|ip| address(index, *ip)).collect();
        if batch.is_empty() {
            return Ok(());
        }
        first(self.links.delete_addresses(&batch)?)
    }

    /// Deletes addresses so that these routes hold all the while. With a device's last IPv4 address the kernel takes away all
    /// its IPv4 routes, so they make a detour by the loopback device.
    pub(super) fn leave_routes_only(
        &mut self,
        addresses: &[IpAddr],
        routes: &[(IpAddr, Source)],
    ) -> Result<(), LinkError> {
        let links = self.links.links()?;
        let detour: Vec<Route> = match named(&links, LOOPBACK) {
            Some(loopback) => routes
                .iter()
                .filter(|(ip, _)| ip.is_ipv4())
                .map(|(ip, source)| Route {
                    metric: METRIC + 1,
                    ..route(loopback.index, *ip, *source)
                })
                .collect(),
            None => Vec::new(),
        };
        if !detour.is_empty() {
            first(self.links.add_routes(&detour)?)?;
        }
        self.delete_addresses(addresses)?;
        self.add_routes(routes)?;
        self.end_detours(&detour)
    }

    /// Deletes routes of ours by other devices, which an agent left that died on the way.
    pub(super) fn delete_detours(&mut self) -> Result<(), LinkError> {
        let mine = RouteFilter {
            table: Some(TABLE_LOCAL),
            protocol: Some(ROUTE_PROTOCOL),
            interface: None,
        };
        let index = self.index;
        let mut routes = self.links.routes_of(&mine)?;
        routes.retain(|route| route.interface != index);
        self.end_detours(&routes)
    }

    fn end_detours(&mut self, detours: &[Route]) -> Result<(), LinkError> {
        if detours.is_empty() {
            return Ok(());
        }
        first(self.links.delete_routes(detours)?)
    }

    /// Whether it is the link of this index.
    pub(super) fn is(&self, index: u32) -> bool {
        self.index == Some(index)
    }

    /// Whether the device is there and up.
    pub(super) fn check(&mut self) -> Result<Vec<Drift>, LinkError> {
        let links = self.links.links()?;
        let what = match named(&links, DEVICE) {
            Some(link) if link.up && Some(link.index) == self.index => return Ok(Vec::new()),
            Some(link) if link.up => "is another one than it was",
            Some(_) => "is down",
            None => "is gone",
        };
        Ok(vec![Drift {
            object: format!("device {DEVICE}"),
            what: what.to_owned(),
        }])
    }

    fn index(&self) -> Result<u32, LinkError> {
        self.index.ok_or_else(|| LinkError::NoSuchInterface {
            operation: format!("bind addresses to {DEVICE}"),
        })
    }
}

fn route(interface: u32, ip: IpAddr, Source(source): Source) -> Route {
    Route {
        destination: IpNet::from(ip),
        kind: RouteKind::LOCAL,
        gateway: None,
        interface: Some(interface),
        source,
        table: TABLE_LOCAL,
        protocol: ROUTE_PROTOCOL,
        metric: METRIC,
    }
}

fn of_kernel(interface: u32, ip: IpAddr, source: Option<IpAddr>) -> Route {
    Route {
        protocol: PROTOCOL_KERNEL,
        metric: 0,
        ..route(interface, ip, Source(source))
    }
}

fn address(interface: u32, ip: IpAddr) -> InterfaceAddress {
    InterfaceAddress {
        interface,
        address: ip,
        prefix_len: IpNet::from(ip).max_prefix_len(),
    }
}

fn by_address(
    refused: Vec<RefusedObject>,
    of: impl Fn(usize) -> Option<IpAddr>,
) -> Vec<(IpAddr, LinkError)> {
    let named = |refused: RefusedObject| Some((of(refused.position)?, refused.error));
    refused.into_iter().filter_map(named).collect()
}

fn first(refused: Vec<RefusedObject>) -> Result<(), LinkError> {
    match refused.into_iter().next() {
        Some(refused) => Err(refused.error),
        None => Ok(()),
    }
}
