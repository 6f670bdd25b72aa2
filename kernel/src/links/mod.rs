//! Links, addresses and routes.

use std::net::IpAddr;

use ipnet::IpNet;

mod error;
mod events;
mod memory;
mod message;
mod netlink;

pub use error::LinkError;
pub use events::AddressEvents;
pub use memory::{LinkOperation, MemoryLinks};
pub use netlink::NetlinkLinks;

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

/// The door to links, addresses and routes.
pub trait Links: Send {
    /// All links.
    fn links(&mut self) -> Result<Vec<Link>, LinkError>;
    /// All addresses of both families.
    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError>;
    /// All routes of both families in all tables, cached ones apart.
    fn routes(&mut self) -> Result<Vec<Route>, LinkError>;
    /// Switches the hairpin flag of a bridge's port. [`LinkError::NotABridgePort`] where it is none.
    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError>;
    /// Takes a link up or down.
    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError>;
    /// Adds an address; one that is there already is no error. IPv6 addresses are usable at once (no duplicate detection).
    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError>;
    /// Deletes an address. Returns whether it was there.
    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError>;
    /// Adds a route in place of the one to the same destination in the same table with the same metric, if any.
    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError>;
    /// Deletes a route. Returns whether it was there.
    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError>;
}

/// The link of that name.
pub fn named<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|l| l.name == name)
}
