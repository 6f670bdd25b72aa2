//! What the kernel makes of changes to links, addresses and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::error::{EINVAL, ENETDOWN, refusal};
use super::super::{InterfaceAddress, Link, LinkError, Route, RouteKind};

/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;
/// `IP6_RT_PRIO_USER`: metric of an IPv6 route that was given none.
const IPV6_METRIC: u32 = 1024;

/// Where a route stands: no two stand there.
type Place = (u32, IpNet, u32);

/// Links, addresses and routes of a node.
#[derive(Debug, Default)]
pub(super) struct Network {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<InterfaceAddress>,
    routes: BTreeMap<Place, Route>,
}

impl Network {
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> {
        self.addresses.iter().copied()
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        self.routes.values().copied()
    }

    pub(super) fn link(&mut self, index: u32) -> Result<&mut Link, LinkError> {
        let missing = || LinkError::NoSuchInterface {
            operation: format!("interface {index}"),
        };
        self.links.get_mut(&index).ok_or_else(missing)
    }

    pub(super) fn put_link(&mut self, link: Link) {
        self.links.insert(link.index, link);
    }

    pub(super) fn add_dummy(&mut self, name: &str) -> Result<u32, LinkError> {
        if let Some(link) = self.links.values().find(|link| link.name == name) {
            return link.clone().dummy_index();
        }
        let index = self.links.keys().next_back().map_or(1, |last| last + 1);
        self.put_link(Link {
            index,
            name: name.to_owned(),
            kind: Some("dummy".to_owned()),
            up: false,
            master: None,
            hairpin: None,
        });
        Ok(index)
    }

    /// Whether it was there.
    pub(super) fn remove_link(&mut self, index: u32) -> bool {
        self.drop_addresses(|address| address.interface == index);
        self.routes.retain(|_, r| r.interface != Some(index));
        self.links.remove(&index).is_some()
    }

    /// A link that goes down takes its IPv6 addresses and routes with it, and IPv4 routes other than local ones.
    pub(super) fn set_up(&mut self, index: u32, up: bool) -> Result<(), LinkError> {
        let was_up = std::mem::replace(&mut self.link(index)?.up, up);
        if was_up && !up {
            self.drop_addresses(|a| a.interface == index && a.address.is_ipv6());
            self.routes
                .retain(|_, route| route.interface != Some(index) || is_local_ipv4(route));
        }
        Ok(())
    }

    pub(super) fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        self.link(address.interface)?;
        self.addresses.insert(*address);
        Ok(())
    }

    /// Whether it was there.
    pub(super) fn delete_address(&mut self, address: &InterfaceAddress) -> bool {
        self.drop_addresses(|held| held == address)
    }

    /// Routes lose their source with its last holder: an IPv4 route of the main table goes, that of another table keeps the
    /// source all the same, an IPv6 route stays without.
    fn drop_addresses(&mut self, goes: impl Fn(&InterfaceAddress) -> bool) -> bool {
        let gone: Vec<_> = self.addresses.iter().copied().filter(goes).collect();
        self.addresses.retain(|held| !gone.contains(held));
        for InterfaceAddress { address, .. } in &gone {
            if self.holds(*address) {
                continue;
            }
            let lost = |route: &Route| route.source == Some(*address);
            if address.is_ipv4() {
                self.routes
                    .retain(|_, route| route.table != MAIN || !lost(route));
            } else {
                let losers = self.routes.values_mut().filter(|route| lost(route));
                losers.for_each(|route| route.source = None);
            }
        }
        !gone.is_empty()
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.address == address)
    }

    /// Puts a route in place of the one that stands there.
    pub(super) fn put_route(&mut self, route: &Route) -> Result<(), LinkError> {
        let refused = |code| refusal(format!("add route to {}", route.destination), code);
        if let Some(interface) = route.interface
            && !self.link(interface)?.up
            && !is_local_ipv4(route)
        {
            return Err(refused(ENETDOWN));
        }
        if route.source.is_some_and(|source| !self.holds(source)) {
            return Err(refused(EINVAL));
        }
        let route = kept(route);
        let place = (route.table, route.destination, route.metric);
        self.routes.insert(place, route);
        Ok(())
    }

    /// Whether it was there. A metric of 0 stands for any.
    pub(super) fn delete_route(&mut self, asked: &Route) -> bool {
        let destination = asked.destination.trunc();
        let places = (asked.table, destination, 0)..=(asked.table, destination, u32::MAX);
        let found = self
            .routes
            .range(places)
            .find(|(_, route)| is_meant(asked, route))
            .map(|(place, _)| *place);
        found.is_some_and(|place| self.routes.remove(&place).is_some())
    }
}

/// A route to which it does not matter whether its interface is up.
fn is_local_ipv4(route: &Route) -> bool {
    route.kind == RouteKind::LOCAL && route.destination.addr().is_ipv4()
}

/// As the kernel keeps a route.
fn kept(route: &Route) -> Route {
    let unset = route.metric == 0 && route.destination.addr().is_ipv6();
    Route {
        destination: route.destination.trunc(),
        metric: if unset { IPV6_METRIC } else { route.metric },
        ..*route
    }
}

/// Whether a request to delete `asked` deletes this route to the same destination. IPv6 heeds neither kind nor source.
fn is_meant(asked: &Route, route: &Route) -> bool {
    let same = |one: Option<IpAddr>, other| one.is_none() || one == other;
    (asked.metric == 0 || asked.metric == route.metric)
        && asked.protocol == route.protocol
        && (asked.interface.is_none() || asked.interface == route.interface)
        && same(asked.gateway, route.gateway)
        && (route.destination.addr().is_ipv6()
            || (asked.kind == route.kind && same(asked.source, route.source)))
}
