//! Virtual servers as the report tells them.

use std::net::SocketAddr;

use sluice_kernel::address_set::{Entry, IpProtocol};
use sluice_kernel::ipvs::{ListedDestination, VirtualServer};
use sluice_service_plan::model::Protocol;

use super::frontend::Frontend;
use super::report::{BindingReport, RealServerReport, VirtualServerReport};
use crate::balancer::ipvs::readback::{Binding, HeldServer, Readback, ServerKey};

/// All of them, in the order of addresses and ports.
pub(super) fn servers(read: &Readback) -> Vec<VirtualServerReport> {
    let servers = read.servers.iter();
    servers
        .map(|(key, held)| VirtualServerReport {
            server: key.server.to_string(),
            frontends: frontends(key, read),
            ..report(held)
        })
        .collect()
}

fn report(held: &HeldServer) -> VirtualServerReport {
    let service = &held.service.service;
    let counted = held.service.statistics;
    VirtualServerReport {
        server: String::new(),
        frontends: Vec::new(),
        scheduler: service.scheduler.clone(),
        persistence_seconds: service.persistence.map(|p| p.timeout_seconds),
        connections: counted.connections,
        bytes_in: counted.bytes_in,
        bytes_out: counted.bytes_out,
        real_servers: held.real_servers.iter().map(real_server).collect(),
    }
}

fn real_server(listed: &ListedDestination) -> RealServerReport {
    let destination = listed.destination;
    RealServerReport {
        address: SocketAddr::new(destination.server.address, destination.server.port),
        weight: destination.weight,
        draining: destination.weight == 0,
        active_connections: listed.connections.active,
        inactive_connections: listed.connections.inactive,
    }
}

fn frontends(key: &ServerKey, read: &Readback) -> Vec<Frontend> {
    match key.server {
        VirtualServer::Address { address, port, .. } => protocol(key.protocol)
            .map(|protocol| Frontend {
                address: Some(address),
                port,
                protocol,
            })
            .into_iter()
            .collect(),
        VirtualServer::Mark { family, mark } => {
            let marked = read
                .inside
                .iter()
                .filter(|(_, value)| **value == mark.get());
            let frontends = marked.filter_map(|(entry, _)| of_entry(entry));
            frontends
                .filter(|frontend| {
                    let v6 = frontend.address.is_some_and(|ip| ip.is_ipv6());
                    v6 == (family == sluice_kernel::ipvs::Family::V6)
                })
                .collect()
        }
    }
}

/// The frontend that an entry stands for.
pub(super) fn of_entry(entry: &Entry) -> Option<Frontend> {
    let (address, number, port) = match *entry {
        Entry::IpPort(ip, protocol, port) => (Some(ip), protocol, port),
        Entry::NetPort(net, protocol, port) => {
            // Half of all addresses: a node port.
            let single = net.prefix_len() == net.max_prefix_len();
            (single.then(|| net.addr()), protocol, port)
        }
        _ => return None,
    };
    Some(Frontend {
        address,
        port,
        protocol: protocol(number)?,
    })
}

fn protocol(number: IpProtocol) -> Option<Protocol> {
    match number {
        IpProtocol::TCP => Some(Protocol::Tcp),
        IpProtocol::UDP => Some(Protocol::Udp),
        IpProtocol::SCTP => Some(Protocol::Sctp),
        IpProtocol(_) => None,
    }
}

/// All bound addresses, in order.
pub(super) fn bindings(read: &Readback) -> Vec<BindingReport> {
    let bindings = read.bindings.iter();
    bindings
        .map(|(address, binding)| {
            let (by, source) = match binding {
                Binding::Route { source } => ("localRoute", *source),
                Binding::Address { source } => ("address", *source),
            };
            BindingReport {
                address: *address,
                by,
                source,
            }
        })
        .collect()
}

/// What is not as it should be.
pub(super) fn notes(read: &Readback) -> Vec<String> {
    let mut notes: Vec<String> = read
        .missing
        .iter()
        .map(|key| {
            format!(
                "virtual server {} is gone: an agent puts it back",
                key.server
            )
        })
        .collect();
    if !read.foreign_servers.is_empty() {
        let count = read.foreign_servers.len();
        notes.push(format!("{count} virtual servers in IPVS are not ours"));
    }
    let foreign = read.foreign_on_device.iter();
    notes.extend(foreign.map(|what| format!("{what} on kube-ipvs0 is not ours")));
    notes
}
