//! Netlink messages to links, addresses, routes, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::{InterfaceAddress, Link, Route, RouteFilter, RouteKind};

/// `RT_TABLE_UNSPEC`: the number is in an attribute, as it may be too large for the header.
const TABLE_IN_ATTRIBUTE: u8 = 0;

pub(super) fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        hairpin: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                        LinkInfo::PortData(InfoPortData::BridgePort(flags)) => {
                            link.hairpin = hairpin(flags);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn hairpin(flags: &[InfoBridgePort]) -> Option<bool> {
    flags.iter().find_map(|f| {
        if let InfoBridgePort::HairpinMode(on) = f {
            Some(*on)
        } else {
            None
        }
    })
}

/// `None` for an address of another family, and for one that is not the node's until it is known that nobody else has it.
pub(super) fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let flags = message.header.flags;
    let is_awaited = flags.contains(AddressHeaderFlags::Tentative)
        && !flags.contains(AddressHeaderFlags::Optimistic);
    if is_awaited || flags.contains(AddressHeaderFlags::Dadfailed) {
        return None;
    }
    // Of a point-to-point link, IFA_ADDRESS is the peer and IFA_LOCAL is ours.
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    Some(InterfaceAddress {
        interface: message.header.index,
        address,
        prefix_len: message.header.prefix_len,
    })
}

pub(super) fn address_message(address: &InterfaceAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.index = address.interface;
    message.header.prefix_len = address.prefix_len;
    message.header.scope = if address.address.is_loopback() {
        AddressScope::Host
    } else {
        AddressScope::Universe
    };
    if address.address.is_ipv6() {
        message.header.flags |= AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![
        AddressAttribute::Local(address.address),
        AddressAttribute::Address(address.address),
    ];
    message
}

/// `None` for a route of another family, or a cached one.
pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let anywhere = match header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        destination: IpNet::new(anywhere, 0).ok()?,
        kind: RouteKind(header.kind.into()),
        gateway: None,
        interface: None,
        source: None,
        table: u32::from(header.table),
        protocol: header.protocol.into(),
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.destination = IpNet::new(ip(to)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Gateway(via) => route.gateway = ip(via),
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::MultiPath(hops) => {
                let first = hops.first()?;
                route.interface = Some(first.interface_index);
                route.gateway = first.attributes.iter().find_map(|a| match a {
                    RouteAttribute::Gateway(via) => ip(via),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(route)
}

/// A question for all routes of a family that a filter lets pass, as far as the kernel can filter.
pub(super) fn route_question(family: AddressFamily, filter: &RouteFilter) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    if let Some(protocol) = filter.protocol {
        message.header.protocol = RouteProtocol::from(protocol);
    }
    let attributes = &mut message.attributes;
    attributes.extend(filter.table.map(RouteAttribute::Table));
    attributes.extend(filter.interface.map(RouteAttribute::Oif));
    message
}

pub(super) fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.destination.addr());
    header.destination_prefix_length = route.destination.prefix_len();
    header.table = u8::try_from(route.table).unwrap_or(TABLE_IN_ATTRIBUTE);
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = RouteType::from(route.kind.0);
    header.scope = match (route.kind, route.gateway) {
        (RouteKind::LOCAL, _) => RouteScope::Host,
        (RouteKind::UNICAST, None) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(
        route.destination.trunc().addr().into(),
    ));
    attributes.push(RouteAttribute::Table(route.table));
    attributes.extend(route.gateway.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(route.interface.map(RouteAttribute::Oif));
    attributes.extend(
        route
            .source
            .map(|source| RouteAttribute::PrefSource(source.into())),
    );
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
