//! Links, addresses and routes.

use std::net::IpAddr;

use ipnet::IpNet;

mod error;
mod events;
mod memory;
mod message;
mod netlink;
mod orders;
mod route_events;

pub use error::LinkError;
pub use events::AddressEvents;
pub use memory::{LinkOperation, MemoryLinks};
pub use netlink::NetlinkLinks;
pub use route_events::{RouteEvents, RouteNotice};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `bridge`, `veth`, `dummy`, …; absent for real devices and `lo`.
    pub kind: Option<String>,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Index of the bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// Of a bridge's port: frames may leave by the port they came in.
    pub hairpin: Option<bool>,
}

impl Link {
    /// Its index, if it is a dummy device.
    fn dummy_index(self) -> Result<u32, LinkError> {
        if self.kind.as_deref() == Some("dummy") {
            Ok(self.index)
        } else {
            Err(LinkError::OtherKind {
                name: self.name,
                kind: self.kind,
            })
        }
    }
}

/// An address that an interface holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// Interface index.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix_len: u8,
}

/// What a route does with a packet (`RTN_*` of `rtnetlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// Sends it on.
    pub const UNICAST: Self = Self(1);
    /// Takes it as the node's own.
    pub const LOCAL: Self = Self(2);
    /// Drops it without a word.
    pub const BLACKHOLE: Self = Self(6);
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Destinations; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// What it does.
    pub kind: RouteKind,
    /// Next hop. Of a multipath route the first, as is `interface`.
    pub gateway: Option<IpAddr>,
    /// Index of the interface that packets leave by.
    pub interface: Option<u32>,
    /// Source address of the node's own packets (`src`).
    pub source: Option<IpAddr>,
    /// Table: 254 is main, 255 local.
    pub table: u32,
    /// Who made it (`RTPROT_*`): 2 the kernel, 3 boot, 4 static.
    pub protocol: u8,
    /// Metric. The kernel turns 0 into 1024 in IPv6 routes.
    pub metric: u32,
}

/// Which routes to list; what is absent does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteFilter {
    /// Only of this table.
    pub table: Option<u32>,
    /// Only of this maker.
    pub protocol: Option<u8>,
    /// Only by this interface.
    pub interface: Option<u32>,
}

impl RouteFilter {
    /// Whether it lets this route pass.
    pub fn matches(&self, route: &Route) -> bool {
        self.table.is_none_or(|table| table == route.table)
            && self
                .protocol
                .is_none_or(|protocol| protocol == route.protocol)
            && self
                .interface
                .is_none_or(|interface| Some(interface) == route.interface)
    }
}

/// What the kernel refused of a batch.
#[derive(Debug)]
pub struct RefusedObject {
    /// Its place in the batch, from 0.
    pub position: usize,
    /// Why.
    pub error: LinkError,
}

/// The door to links, addresses and routes.
///
/// A batch does with each of its objects, in order, what the call for one does. One that is refused does not keep the
/// others: the answer tells all that were refused, in order; it is empty when all is well. An error means that the
/// conversation broke off: what was made of the batch is then unknown.
pub trait Links: Send {
    /// All links.
    fn links(&mut self) -> Result<Vec<Link>, LinkError>;
    /// All addresses of both families, those apart whose duplicate detection is under way or failed: nothing can be sent from them.
    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError>;
    /// The addresses of one interface; none if there is no such interface.
    fn addresses_of(&mut self, interface: u32) -> Result<Vec<InterfaceAddress>, LinkError>;
    /// All routes of both families in all tables, cached ones apart.
    fn routes(&mut self) -> Result<Vec<Route>, LinkError> {
        self.routes_of(&RouteFilter::default())
    }
    /// The routes that a filter lets pass; no others are kept while the kernel lists them.
    fn routes_of(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, LinkError>;
    /// Makes a dummy device, unless there is one of that name, and returns its index. A new one is down.
    /// [`LinkError::NoDummyDevice`] where the kernel has none, [`LinkError::OtherKind`] where the name is another device's.
    fn add_dummy(&mut self, name: &str) -> Result<u32, LinkError>;
    /// Deletes a link, its addresses and routes with it. Returns whether it was there.
    fn delete_link(&mut self, interface: u32) -> Result<bool, LinkError>;
    /// Switches the hairpin flag of a bridge's port. [`LinkError::NotABridgePort`] where it is none.
    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError>;
    /// Takes a link up or down.
    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError>;
    /// Adds an address; one that is there already is no error. IPv6 addresses are usable at once (no duplicate detection).
    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError>;
    /// Deletes an address. Returns whether it was there.
    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError>;
    /// Adds addresses as [`Links::add_address`] does.
    fn add_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError>;
    /// Deletes addresses; one that is not there is not refused.
    fn delete_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError>;
    /// Adds a route in place of the one to the same destination in the same table with the same metric, if any. In table
    /// local that may be the kernel's own route to an address of the node, which has metric 0 in both families: give others
    /// a metric.
    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError>;
    /// Deletes a route. Returns whether it was there.
    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError>;
    /// Adds routes as [`Links::replace_route`] does.
    fn add_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError>;
    /// Deletes routes; one that is not there is not refused.
    fn delete_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError>;
}

/// The link of that name.
pub fn named<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|l| l.name == name)
}
