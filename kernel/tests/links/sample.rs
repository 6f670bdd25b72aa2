//! A node's addresses, and routes that carry the mark of these tests.

use sluice_kernel::links::{InterfaceAddress, Links, Route, RouteFilter, RouteKind};

use crate::subject::index;

pub(crate) const NODE_V4: &str = "10.9.0.1";
pub(crate) const NODE_V6: &str = "fd00:9::1";
pub(crate) const VIP_V4: &str = "10.96.0.10/32";
pub(crate) const VIP_V6: &str = "fd00:96::a/128";

/// Gives `v1` the node's addresses.
pub(crate) fn address_node(door: &mut dyn Links) -> [InterfaceAddress; 2] {
    let interface = index(door, "v1");
    let held = [(NODE_V4, 24), (NODE_V6, 64)].map(|(address, prefix_len)| InterfaceAddress {
        interface,
        address: address.parse().unwrap(),
        prefix_len,
    });
    assert!(door.add_addresses(&held).unwrap().is_empty());
    held
}

pub(crate) fn route(destination: &str, interface: u32) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        kind: RouteKind::UNICAST,
        gateway: None,
        interface: Some(interface),
        source: None,
        table: 254,
        protocol: 97,
        metric: 77,
    }
}

/// A local route in table local that binds a virtual address to an interface.
pub(crate) fn binding(destination: &str, interface: u32, source: &str) -> Route {
    Route {
        kind: RouteKind::LOCAL,
        table: 255,
        source: Some(source.parse().unwrap()),
        ..route(destination, interface)
    }
}

pub(crate) fn ours(door: &mut dyn Links) -> Vec<Route> {
    let filter = RouteFilter {
        protocol: Some(97),
        ..RouteFilter::default()
    };
    let mut routes = door.routes_of(&filter).unwrap();
    routes.sort_unstable();
    routes
}

pub(crate) fn sorted(routes: impl IntoIterator<Item = Route>) -> Vec<Route> {
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_unstable();
    routes
}
