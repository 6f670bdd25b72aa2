//! Virtual servers and bindings as ipvsadm(8) and ip(8) write them.

use std::fmt::Write as _;
use std::net::IpAddr;

use sluice_kernel::address_set::IpProtocol;
use sluice_kernel::ipvs::{ClientMask, Family, Forward, RealServer, Service, VirtualServer};

use crate::balancer::ipvs::names::{DEVICE, ROUTE_PROTOCOL};
use crate::balancer::ipvs::readback::{Binding, HeldServer};

/// The lines that `ipvsadm --restore` reads. Real servers that only let connections end are left out; where nothing else is left, so is
/// the virtual server.
pub(super) fn restore_lines(held: &HeldServer) -> Vec<String> {
    let service = &held.service.service;
    let server = selector(&service.server);
    let taking = held.real_servers.iter().map(|listed| listed.destination);
    let real_servers: Vec<String> = taking
        .filter(|destination| destination.weight > 0)
        .map(|destination| {
            let forward = match destination.forward {
                Forward::Tunnel => "-i",
                Forward::Route => "-g",
                Forward::Masquerade | Forward::Local | Forward::Bypass => "-m",
            };
            let (real, weight) = (destination.server, destination.weight);
            format!("-a {server} -r {real} {forward} -w {weight}")
        })
        .collect();
    if real_servers.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("-A {server}{}", ways(service))];
    lines.extend(real_servers);
    lines
}

/// `-t 10.96.0.1:443`, `-f 1 -6`.
fn selector(server: &VirtualServer) -> String {
    match *server {
        VirtualServer::Address {
            protocol,
            address,
            port,
        } => {
            let option = match protocol {
                IpProtocol::UDP => "-u",
                IpProtocol::SCTP => "--sctp-service",
                _ => "-t",
            };
            format!("{option} {}", RealServer { address, port })
        }
        VirtualServer::Mark { family, mark } => match family {
            Family::V4 => format!("-f {mark}"),
            Family::V6 => format!("-f {mark} -6"),
        },
    }
}

// Writing to a string does not fail.
fn ways(service: &Service) -> String {
    let mut words = format!(" -s {}", service.scheduler);
    let flags = service.scheduler_flags;
    let set: Vec<&str> = [
        (flags.flag_1, "flag-1"),
        (flags.flag_2, "flag-2"),
        (flags.flag_3, "flag-3"),
    ]
    .into_iter()
    .filter_map(|(on, name)| on.then_some(name))
    .collect();
    if !set.is_empty() {
        let _ = write!(words, " -b {}", set.join(","));
    }
    if let Some(persistence) = &service.persistence {
        let _ = write!(words, " -p {}", persistence.timeout_seconds);
        let whole = ClientMask::whole(service.server.family());
        let _ = match persistence.clients {
            mask if mask == whole => Ok(()),
            ClientMask::V4(mask) => write!(words, " -M {mask}"),
            ClientMask::V6(length) => write!(words, " -M {length}"),
        };
    }
    if service.one_packet {
        words += " -O";
    }
    words
}

/// The words after `ip`, a line each.
pub(super) fn binding_lines(ip: IpAddr, binding: Binding) -> Vec<String> {
    let (Binding::Route { source } | Binding::Address { source }) = binding;
    let source = source.map(|ip| format!(" src {ip}")).unwrap_or_default();
    let route =
        format!("route add local {ip} dev {DEVICE} table local proto {ROUTE_PROTOCOL}{source}");
    match binding {
        Binding::Route { .. } => vec![route],
        Binding::Address { .. } => {
            let length = if ip.is_ipv4() { 32 } else { 128 };
            vec![format!("address add {ip}/{length} dev {DEVICE}"), route]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use sluice_kernel::ipvs::{
        Destination, ListedDestination, ListedService, Persistence, Statistics,
    };

    use super::*;

    fn held(service: Service, weights: &[u32]) -> HeldServer {
        let real_servers = weights.iter().zip(1u16..).map(|(weight, port)| {
            let at = RealServer::new("10.1.0.5".parse().unwrap(), port);
            ListedDestination {
                destination: Destination::new(at, *weight),
                connections: sluice_kernel::ipvs::ConnectionCounts::default(),
                statistics: Statistics::default(),
            }
        });
        HeldServer {
            service: ListedService {
                service,
                statistics: Statistics::default(),
            },
            real_servers: real_servers.collect(),
        }
    }

    #[test]
    fn servers_are_written_as_ipvsadm_does_and_draining_ones_are_left_out() {
        let at = VirtualServer::new(IpProtocol::UDP, "10.96.0.1".parse().unwrap(), 53);
        let mut service = Service::new(at, "sh");
        service.scheduler_flags.flag_2 = true;
        service.persistence = Some(Persistence::of_each_client(Family::V4, 600));
        assert_eq!(
            restore_lines(&held(service.clone(), &[2, 0])),
            [
                "-A -u 10.96.0.1:53 -s sh -b flag-2 -p 600",
                "-a -u 10.96.0.1:53 -r 10.1.0.5:1 -m -w 2",
            ]
        );
        assert!(restore_lines(&held(service, &[0])).is_empty());
        let marked = VirtualServer::Mark {
            family: Family::V6,
            mark: NonZeroU32::MIN,
        };
        let lines = restore_lines(&held(Service::new(marked, "rr"), &[1]));
        assert_eq!(lines[0], "-A -f 1 -6 -s rr");
    }
}
