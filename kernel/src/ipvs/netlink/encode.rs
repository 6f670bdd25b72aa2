//! Requests to IPVS.

use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;

use super::super::{
    Change, ClientMask, Destination, Family, Forward, RealServer, Service, Timeouts, VirtualServer,
};
use super::attributes::{
    AF_INET, AF_INET6, VERSION, command, destination, flag, forward, service, top,
};
use crate::netlink::Request;

/// Asks for one number of the whole: information, or timeouts.
pub(super) fn question(genl_family: u16, command: u8) -> Request {
    Request::generic(genl_family, command, VERSION, 0)
}

/// Dumps all virtual servers.
pub(super) fn services(genl_family: u16) -> Request {
    Request::generic(genl_family, command::GET_SERVICE, VERSION, NLM_F_DUMP)
}

/// Asks for one virtual server.
pub(super) fn service(genl_family: u16, server: &VirtualServer) -> Request {
    let mut message = question(genl_family, command::GET_SERVICE);
    message.nested(top::SERVICE, |nest| virtual_server(nest, server));
    message
}

/// Dumps the real servers of a virtual server.
pub(super) fn destinations(genl_family: u16, of: &VirtualServer) -> Request {
    let mut message = Request::generic(genl_family, command::GET_DEST, VERSION, NLM_F_DUMP);
    message.nested(top::SERVICE, |nest| virtual_server(nest, of));
    message
}

/// Sets the timeouts that are not 0.
pub(super) fn set_timeouts(genl_family: u16, timeouts: &Timeouts) -> Request {
    let mut message = question(genl_family, command::SET_CONFIG);
    message.u32_host(top::TIMEOUT_TCP, timeouts.tcp_seconds);
    message.u32_host(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin_seconds);
    message.u32_host(top::TIMEOUT_UDP, timeouts.udp_seconds);
    message
}

/// The order that makes a change.
pub(super) fn change(genl_family: u16, change: &Change) -> Request {
    let command = match change {
        Change::NewService(_) => command::NEW_SERVICE,
        Change::SetService(_) => command::SET_SERVICE,
        Change::DeleteService(_) => command::DEL_SERVICE,
        Change::NewDestination(..) => command::NEW_DEST,
        Change::SetDestination(..) => command::SET_DEST,
        Change::DeleteDestination(..) => command::DEL_DEST,
    };
    let mut message = question(genl_family, command);
    message.nested(top::SERVICE, |nest| {
        virtual_server(nest, &change.virtual_server());
        if let Change::NewService(wanted) | Change::SetService(wanted) = change {
            balancing(nest, wanted);
        }
    });
    match change {
        Change::NewDestination(_, wanted) | Change::SetDestination(_, wanted) => {
            message.nested(top::DEST, |nest| {
                real_server(nest, &wanted.server);
                share(nest, wanted);
            });
        }
        Change::DeleteDestination(_, server) => {
            message.nested(top::DEST, |nest| real_server(nest, server));
        }
        _ => {}
    }
    message
}

fn virtual_server(nest: &mut Request, server: &VirtualServer) {
    nest.u16_host(service::AF, address_family(server.family()));
    match *server {
        VirtualServer::Address {
            protocol,
            address,
            port,
        } => {
            nest.u16_host(service::PROTOCOL, protocol.0.into());
            self::address(nest, service::ADDR, address);
            nest.bytes(service::PORT, &port.to_be_bytes());
        }
        VirtualServer::Mark { mark, .. } => nest.u32_host(service::FWMARK, mark.get()),
    }
}

fn balancing(nest: &mut Request, wanted: &Service) {
    nest.text(service::SCHED_NAME, &wanted.scheduler);
    let flags = [
        (wanted.persistence.is_some(), flag::PERSISTENT),
        (wanted.one_packet, flag::ONE_PACKET),
        (wanted.scheduler_flags.flag_1, flag::SCHEDULER_1),
        (wanted.scheduler_flags.flag_2, flag::SCHEDULER_2),
        (wanted.scheduler_flags.flag_3, flag::SCHEDULER_3),
    ];
    let flags = flags
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |all, (_, bit)| all | bit);
    // `struct ip_vs_flags`: the flags, and which of them to set.
    nest.bytes(
        service::FLAGS,
        &[u32::to_ne_bytes(flags), flag::ALL.to_ne_bytes()].concat(),
    );
    let timeout = wanted.persistence.map_or(0, |p| p.timeout_seconds);
    nest.u32_host(service::TIMEOUT, timeout);
    // The kernel wants a mask without persistence too.
    let clients = wanted.persistence.map_or_else(
        || ClientMask::whole(wanted.server.family()),
        |persistence| persistence.clients,
    );
    match clients {
        ClientMask::V4(mask) => nest.bytes(service::NETMASK, &mask.octets()),
        ClientMask::V6(length) => nest.u32_host(service::NETMASK, length.into()),
    }
}

fn real_server(nest: &mut Request, server: &RealServer) {
    self::address(nest, destination::ADDR, server.address);
    nest.bytes(destination::PORT, &server.port.to_be_bytes());
    let family = address_family(Family::of(server.address));
    nest.u16_host(destination::ADDR_FAMILY, family);
}

fn share(nest: &mut Request, wanted: &Destination) {
    let method = match wanted.forward {
        Forward::Masquerade => forward::MASQUERADE,
        Forward::Local => forward::LOCAL,
        Forward::Tunnel => forward::TUNNEL,
        Forward::Route => forward::ROUTE,
        Forward::Bypass => forward::BYPASS,
    };
    nest.u32_host(destination::FWD_METHOD, method);
    nest.u32_host(destination::WEIGHT, wanted.weight);
    nest.u32_host(destination::U_THRESH, wanted.upper_threshold);
    nest.u32_host(destination::L_THRESH, wanted.lower_threshold);
}

fn address(nest: &mut Request, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(ip) => nest.bytes(kind, &ip.octets()),
        IpAddr::V6(ip) => nest.bytes(kind, &ip.octets()),
    }
}

fn address_family(family: Family) -> u16 {
    match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}
