//! The `ipset` program as the other witness of what the kernel holds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use sluice_kernel::address_set::{Entry, IpProtocol, ListedEntry, Mark};

use super::namespace::sh;

/// The entries of a set as `ipset save` prints them, with their marks and without their timeouts.
pub(crate) fn listed(set: &str) -> BTreeSet<String> {
    let entry = format!("add {set} ");
    let saved = sh(&format!("ipset save {set}"));
    let entries = saved.lines().filter_map(|line| line.strip_prefix(&entry));
    entries
        .map(|line| {
            let mut words = line.split(' ');
            let entry = words.next().unwrap();
            match words.skip_while(|word| *word != "skbmark").nth(1) {
                Some(mark) => format!("{entry} {mark}"),
                None => entry.to_owned(),
            }
        })
        .collect()
}

/// The same entries as `ipset save` would print them.
pub(crate) fn written(entries: Vec<ListedEntry>) -> BTreeSet<String> {
    let count = entries.len();
    let written: BTreeSet<_> = entries
        .into_iter()
        .map(|listed| match listed.mark {
            Some(mark) => format!("{} {}", text(listed.entry), mark_text(mark)),
            None => text(listed.entry),
        })
        .collect();
    assert_eq!(written.len(), count, "an entry is listed twice");
    written
}

/// A mask of all bits is not printed.
fn mark_text(Mark { value, mask }: Mark) -> String {
    if mask == u32::MAX {
        format!("{value:#x}")
    } else {
        format!("{value:#x}/{mask:#x}")
    }
}

fn text(entry: Entry) -> String {
    match entry {
        Entry::Ip(ip) => ip.to_string(),
        Entry::Net(net) => network(net),
        Entry::IpPort(ip, protocol, port) => ported(ip, protocol, port),
        Entry::NetPort(net, protocol, port) => {
            format!("{},{}", network(net), service(protocol, port))
        }
        Entry::IpPortIp(ip, protocol, port, ip2) => format!("{},{ip2}", ported(ip, protocol, port)),
        Entry::IpPortNet(ip, protocol, port, net) => {
            format!("{},{}", ported(ip, protocol, port), network(net))
        }
        Entry::Port(port) => port.to_string(),
    }
}

/// A single address is printed without its prefix length.
fn network(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

fn ported(ip: IpAddr, protocol: IpProtocol, port: u16) -> String {
    format!("{ip},{}", service(protocol, port))
}

fn service(protocol: IpProtocol, port: u16) -> String {
    let name = match protocol {
        IpProtocol::TCP => "tcp",
        IpProtocol::UDP => "udp",
        IpProtocol::SCTP => "sctp",
        other => panic!("{other:?}"),
    };
    format!("{name}:{port}")
}
