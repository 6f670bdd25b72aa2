//! What is written is what is read, and the bytes are those that the kernel's header defines.

use std::net::IpAddr;

use proptest::prelude::*;

use super::super::{
    Change, ClientMask, Destination, Family, Forward, IpProtocol, Persistence, RealServer,
    SchedulerFlags, Service, Statistics, VirtualServer,
};
use super::attributes::{destination, service, statistics, top};
use super::{decode, encode};
use crate::netlink::{NETLINK_HEADER, Request};

const GENL_FAMILY: u16 = 0x22;

fn payload(change: &Change) -> Vec<u8> {
    let bytes = encode::change(GENL_FAMILY, change).into_bytes();
    bytes[NETLINK_HEADER..].to_vec()
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn virtual_server() -> impl Strategy<Value = VirtualServer> {
    let protocol = prop_oneof![
        Just(IpProtocol::TCP),
        Just(IpProtocol::UDP),
        Just(IpProtocol::SCTP)
    ];
    let by_address = (protocol, family().prop_flat_map(address), any::<u16>())
        .prop_map(|(protocol, address, port)| VirtualServer::new(protocol, address, port));
    let by_mark = (family(), any::<std::num::NonZeroU32>())
        .prop_map(|(family, mark)| VirtualServer::Mark { family, mark });
    prop_oneof![by_address, by_mark]
}

fn persistence(family: Family) -> impl Strategy<Value = Persistence> {
    let clients = match family {
        Family::V4 => any::<[u8; 4]>()
            .prop_map(|mask| ClientMask::V4(mask.into()))
            .boxed(),
        Family::V6 => (1..=128_u8).prop_map(ClientMask::V6).boxed(),
    };
    (any::<u32>(), clients).prop_map(|(timeout_seconds, clients)| Persistence {
        timeout_seconds,
        clients,
    })
}

prop_compose! {
    fn any_service()(server in virtual_server())(
        persistence in proptest::option::of(persistence(server.family())),
        server in Just(server),
        scheduler in "[a-z]{1,15}",
        one_packet in any::<bool>(),
        (flag_1, flag_2, flag_3) in any::<(bool, bool, bool)>(),
    ) -> Service {
        let scheduler_flags = SchedulerFlags { flag_1, flag_2, flag_3 };
        Service { server, scheduler, scheduler_flags, one_packet, persistence }
    }
}

prop_compose! {
    fn any_destination()(
        address in family().prop_flat_map(address),
        port in any::<u16>(),
        forward in prop_oneof![
            Just(Forward::Masquerade), Just(Forward::Local), Just(Forward::Tunnel),
            Just(Forward::Route), Just(Forward::Bypass),
        ],
        (weight, upper_threshold, lower_threshold) in any::<(u32, u32, u32)>(),
    ) -> Destination {
        let server = RealServer::new(address, port);
        Destination { server, forward, weight, upper_threshold, lower_threshold }
    }
}

proptest! {
    #[test]
    fn a_virtual_server_that_was_written_is_read_back(wanted in any_service()) {
        let listed = decode::listed_service(&payload(&Change::NewService(wanted.clone()))).unwrap();
        prop_assert_eq!(listed.service, wanted);
    }

    #[test]
    fn a_real_server_that_was_written_is_read_back(of in virtual_server(), wanted in any_destination()) {
        let written = payload(&Change::SetDestination(of, wanted));
        let listed = decode::listed_destination(&written, of.family()).unwrap();
        prop_assert_eq!(listed.destination, wanted);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode::listed_service(&bytes);
        let _ = decode::listed_destination(&bytes, Family::V4);
        let _ = decode::info(&bytes);
        let _ = decode::timeouts(&bytes);
    }
}

/// Bytes of hexadecimal digits.
fn bytes(lines: &[&str]) -> Vec<u8> {
    let digits = lines.concat();
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The bytes that a little-endian kernel was seen to take, attribute by attribute.
#[test]
#[cfg(target_endian = "little")]
fn a_new_virtual_server_has_the_bytes_of_the_header() {
    let vip = IpAddr::from([10, 96, 0, 1]);
    let mut wanted = Service::new(VirtualServer::new(IpProtocol::TCP, vip, 443), "rr");
    wanted.persistence = Some(Persistence::of_each_client(Family::V4, 10_800));
    let expected = [
        "01010000",                 // IPVS_CMD_NEW_SERVICE, version 1
        "48000180",                 // IPVS_CMD_ATTR_SERVICE, nested
        "0600010002000000",         // family: AF_INET
        "0600020006000000",         // protocol: 6
        "080003000a600001",         // address, network order
        "0600040001bb0000",         // port, network order
        "0700060072720000",         // scheduler, with its zero
        "0c000700010000003d000000", // flags, and which of them count
        "08000800302a0000",         // timeout
        "08000900ffffffff",         // netmask, network order
    ];
    let written = payload(&Change::NewService(wanted));
    assert_eq!(written, bytes(&expected));
}

#[test]
#[cfg(target_endian = "little")]
fn a_real_server_to_delete_has_the_bytes_of_the_header() {
    let mark = std::num::NonZeroU32::new(7).unwrap();
    let of = VirtualServer::Mark {
        family: Family::V6,
        mark,
    };
    let server = RealServer::new("fd00::1".parse().unwrap(), 8080);
    let expected = [
        "07010000",                                 // IPVS_CMD_DEL_DEST
        "14000180",                                 // IPVS_CMD_ATTR_SERVICE, nested
        "060001000a000000",                         // family: AF_INET6
        "0800050007000000",                         // mark
        "28000280",                                 // IPVS_CMD_ATTR_DEST, nested
        "14000100fd000000000000000000000000000001", // address
        "060002001f900000",                         // port
        "06000b000a000000",                         // family
    ];
    let written = payload(&Change::DeleteDestination(of, server));
    assert_eq!(written, bytes(&expected));
}

/// A real server as the kernel tells it, with counters of both widths, or of the narrow one alone.
fn told_with_counters(wide: bool) -> Vec<u8> {
    let mut message = Request::generic(GENL_FAMILY, 5, 1, 0);
    message.nested(top::DEST, |nest| {
        // Sixteen bytes in either family.
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[10, 0, 0, 9]);
        nest.bytes(destination::ADDR, &address);
        nest.bytes(destination::PORT, &80_u16.to_be_bytes());
        nest.u32_host(destination::ACTIVE_CONNS, 3);
        nest.u32_host(destination::INACT_CONNS, 4);
        nest.u32_host(destination::PERSIST_CONNS, 5);
        nest.nested(destination::STATS, |nest| {
            nest.u32_host(statistics::CONNS, 1);
            nest.bytes(statistics::INBYTES, &6_000_000_000_u64.to_ne_bytes());
            nest.u32_host(statistics::OUTBPS, 2);
        });
        if wide {
            nest.nested(destination::STATS64, |nest| {
                nest.bytes(statistics::CONNS, &(1_u64 << 32 | 1).to_ne_bytes());
                nest.bytes(statistics::INBYTES, &6_000_000_000_u64.to_ne_bytes());
                nest.bytes(statistics::OUTBPS, &2_u64.to_ne_bytes());
            });
        }
    });
    message.into_bytes()[NETLINK_HEADER..].to_vec()
}

#[test]
fn wide_counters_are_preferred_and_narrow_ones_are_understood() {
    for (wide, connections) in [(true, 1 << 32 | 1), (false, 1)] {
        let told = told_with_counters(wide);
        let listed = decode::listed_destination(&told, Family::V4).unwrap();
        let expected = Statistics {
            connections,
            bytes_in: 6_000_000_000,
            byte_rate_out: 2,
            ..Statistics::default()
        };
        assert_eq!(listed.statistics, expected);
        let counts = listed.connections;
        assert_eq!(
            (counts.active, counts.inactive, counts.persistent),
            (3, 4, 5)
        );
        let server = RealServer::new(IpAddr::from([10, 0, 0, 9]), 80);
        assert_eq!(listed.destination.server, server);
    }
}

#[test]
fn a_virtual_server_without_a_port_is_malformed() {
    let mut message = Request::generic(GENL_FAMILY, 1, 1, 0);
    message.nested(top::SERVICE, |nest| {
        nest.u16_host(service::AF, 2);
        nest.u16_host(service::PROTOCOL, 6);
        nest.bytes(service::ADDR, &[10, 0, 0, 1]);
    });
    let told = &message.into_bytes()[NETLINK_HEADER..];
    let refused = decode::listed_service(told).unwrap_err();
    assert_eq!(refused, "a virtual server without port");
}
