//! What is encoded is what is decoded.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::attributes::Command;
use super::decode::{Listing, Versions, header, refused_line};
use super::{element, encode};
use crate::address_set::{
    Attachment, Entry, Family, IpProtocol, ListedEntry, Mark, SetKind, SetSpec,
};
use crate::netlink::{NETFILTER_HEADER, NETLINK_HEADER, NFPROTO_UNSPEC, Request};

fn spec(kind: SetKind, family: Family) -> SetSpec {
    SetSpec {
        name: "set".to_owned(),
        kind,
        family,
        max_entries: 70_000,
        expected_entries: 20_000,
        timeout_seconds: Some(30),
        marks: true,
    }
}

fn entry() -> impl Strategy<Value = (Family, Entry)> {
    let protocol = any::<u8>().prop_map(IpProtocol);
    let parts = |v6| {
        let ip = move || {
            if v6 {
                any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
            } else {
                any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
            }
        };
        let net = (ip(), 1..=if v6 { 128 } else { 32_u8 });
        (
            ip(),
            ip(),
            net.prop_map(|(ip, prefix)| IpNet::new(ip, prefix).unwrap()),
        )
    };
    let of = move |family, v6| {
        (parts(v6), protocol.clone(), any::<u16>(), 0..7).prop_map(
            move |((ip, ip2, net), protocol, port, kind)| {
                let entry = match kind {
                    0 => Entry::Ip(ip),
                    1 => Entry::Net(net),
                    2 => Entry::IpPort(ip, protocol, port),
                    3 => Entry::NetPort(net, protocol, port),
                    4 => Entry::IpPortIp(ip, protocol, port, ip2),
                    5 => Entry::IpPortNet(ip, protocol, port, net),
                    _ => Entry::Port(port),
                };
                (family, entry)
            },
        )
    };
    prop_oneof![of(Family::V4, false), of(Family::V6, true)]
}

/// The message as an answer of the kernel would carry it: with the set's type told first.
fn as_answer(request: Request, kind: SetKind) -> Vec<u8> {
    let bytes = request.into_bytes();
    let mut typed = Request::netfilter(0, 0, 0, NFPROTO_UNSPEC);
    typed.text(super::attributes::command::TYPENAME, &kind.to_string());
    let mut answer = typed.into_bytes().split_off(NETLINK_HEADER);
    answer.extend_from_slice(&bytes[NETLINK_HEADER + NETFILTER_HEADER..]);
    answer
}

proptest! {
    #[test]
    fn every_entry_comes_back_as_it_was_written(
        (family, entry) in entry(),
        timeout_seconds in proptest::option::of(any::<u32>()),
        mark in proptest::option::of(any::<(u32, u32)>()),
    ) {
        let set = spec(entry.kind(), family);
        let mark = mark.map(|(value, mask)| Mark { value, mask });
        let attachment = Attachment { timeout_seconds, mark };
        let mut entries = std::iter::once((entry, attachment)).peekable();
        let request = encode::batch(7, Command::Add, &set, &mut entries);
        let mut listing = Listing::default();
        listing.take(&as_answer(request, set.kind)).unwrap();
        let expected = ListedEntry { entry, timeout_seconds, mark };
        prop_assert_eq!(listing.entries, [expected]);
    }

    #[test]
    fn an_entry_is_never_longer_than_its_bound((_, entry) in entry()) {
        let mut message = Request::netfilter(0, 0, 0, NFPROTO_UNSPEC);
        let empty = message.len();
        let mark = Some(Mark { value: 1, mask: 1 });
        let all = Attachment { mark, ..Attachment::lifetime(9) };
        message.nested(7, |nest| element::encode(nest, entry, all, 1));
        prop_assert!(message.len() - empty <= element::MAX_BYTES);
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = header(&bytes, "");
        let _ = refused_line(&bytes);
        let _ = Listing::default().take(&bytes);
        for kind in [SetKind::HashIpPortNet, SetKind::BitmapPort] {
            let _ = element::decode(kind, &bytes);
        }
    }
}

#[test]
fn batches_hold_every_entry_once_and_never_outgrow_their_nest() {
    for family in [Family::V4, Family::V6] {
        let ip = |n: u32| match family {
            Family::V4 => IpAddr::from(n.to_be_bytes()),
            Family::V6 => IpAddr::from(u128::from(n).to_be_bytes()),
        };
        let lifetime = Attachment::lifetime(9);
        let all: Vec<_> = (1..=5_000)
            .map(|n| (Entry::IpPortIp(ip(n), IpProtocol::TCP, 80, ip(n)), lifetime))
            .collect();
        let set = spec(SetKind::HashIpPortIp, family);
        let mut rest = all.iter().copied().peekable();
        let mut read = Vec::new();
        let mut messages = 0;
        while rest.peek().is_some() {
            let request = encode::batch(7, Command::Add, &set, &mut rest);
            assert!(request.len() < 65_536);
            messages += 1;
            let mut listing = Listing::default();
            listing.take(&as_answer(request, set.kind)).unwrap();
            assert!(listing.entries.len() <= 1_000);
            read.extend(
                listing
                    .entries
                    .iter()
                    .map(|listed| (listed.entry, lifetime)),
            );
        }
        assert_eq!(read, all);
        assert_eq!(messages, if family == Family::V4 { 5 } else { 7 });
    }
}

#[test]
fn a_created_set_is_read_back_from_its_own_request() {
    for (kind, expected, max) in [
        (SetKind::HashNet, 32_768, 70_000),
        (SetKind::BitmapPort, 65_536, 65_536),
    ] {
        let request = encode::create(7, &spec(kind, Family::V4), 3).into_bytes();
        let read = header(&request[NETLINK_HEADER..], "se").unwrap().unwrap();
        let wanted = SetSpec {
            expected_entries: expected,
            max_entries: max,
            ..spec(kind, Family::V4)
        };
        assert_eq!(read.spec, wanted);
        assert_eq!(header(&request[NETLINK_HEADER..], "other").unwrap(), None);
    }
}

#[test]
fn the_highest_common_version_is_chosen() {
    assert_eq!(Versions { min: 0, max: 9 }.common(7), Some(7));
    assert_eq!(Versions { min: 0, max: 3 }.common(7), Some(3));
    assert_eq!(Versions { min: 8, max: 9 }.common(7), None);
}

/// Captured with `strace -xx -e trace=sendto ipset add s 10.1.2.3,sctp:9,10.0.0.0/8`, without the line number at the end.
#[test]
fn an_entry_is_written_as_the_ipset_program_writes_it() {
    let golden =
        b"\x0c\x00\x01\x80\x08\x00\x01\x40\x0a\x01\x02\x03\x06\x00\x04\x40\x00\x09\x00\x00\
        \x05\x00\x07\x00\x84\x00\x00\x00\x0c\x00\x14\x80\x08\x00\x01\x40\x0a\x00\x00\x00\
        \x05\x00\x15\x00\x08\x00\x00\x00";
    let net = IpNet::new(IpAddr::from([10, 0, 0, 0]), 8).unwrap();
    let entry = Entry::IpPortNet(IpAddr::from([10, 1, 2, 3]), IpProtocol::SCTP, 9, net);
    let mut message = Request::netfilter(6, 9, 0, NFPROTO_UNSPEC);
    element::encode(&mut message, entry, Attachment::default(), 1);
    let written = message
        .into_bytes()
        .split_off(NETLINK_HEADER + NETFILTER_HEADER);
    if cfg!(target_endian = "little") {
        assert_eq!(written[..golden.len()], golden[..]);
        assert_eq!(written.len(), golden.len() + 8);
    }
}

/// Captured with `strace -xx -e trace=sendto ipset list -t`, its sequence number set to 0.
#[test]
fn headers_are_asked_for_as_the_ipset_program_asks_so_without_entries() {
    let golden =
        b"\x24\x00\x00\x00\x07\x06\x05\x03\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\
        \x05\x00\x01\x00\x07\x00\x00\x00\x08\x00\x06\x40\x00\x00\x00\x04";
    let mut written = encode::list_headers(7).into_bytes();
    // The program gives a family, which a listing does not heed.
    written[NETLINK_HEADER] = 2;
    if cfg!(target_endian = "little") {
        assert_eq!(written, golden);
    }
}
