//! Sets and entries to try things on, and what a set looks like.

use std::net::{Ipv4Addr, Ipv6Addr};

use sluice_kernel::address_set::{
    AddressSets, Entry, Family, IpProtocol, ListedEntry, SetHeader, SetKind, SetSpec,
};

use super::subject::Subject;

pub(crate) fn set(name: &str, kind: SetKind, max_entries: u32) -> SetSpec {
    SetSpec {
        name: name.to_owned(),
        kind,
        family: Family::V4,
        max_entries,
        expected_entries: max_entries,
        timeout_seconds: None,
        marks: false,
    }
}

pub(crate) fn v6(spec: SetSpec) -> SetSpec {
    SetSpec {
        family: Family::V6,
        ..spec
    }
}

pub(crate) fn marked(spec: SetSpec) -> SetSpec {
    SetSpec {
        marks: true,
        ..spec
    }
}

pub(crate) fn timed(spec: SetSpec, seconds: u32) -> SetSpec {
    SetSpec {
        timeout_seconds: Some(seconds),
        ..spec
    }
}

/// The `n`-th of the entries of a kind and family.
pub(crate) fn entry(kind: SetKind, family: Family, n: u16) -> Entry {
    let ip = |base: u16| match family {
        Family::V4 => {
            let [high, low] = n.to_be_bytes();
            Ipv4Addr::from([10, u8::try_from(base).unwrap(), high, low]).into()
        }
        Family::V6 => Ipv6Addr::from([0xfd00, base, 0, 0, 0, 0, 1, n]).into(),
    };
    let bits = if family == Family::V4 { 32 } else { 128 };
    let net = |base| ipnet::IpNet::new(ip(base), bits).unwrap();
    let protocol = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP][usize::from(n % 3)];
    match kind {
        SetKind::HashIp => Entry::Ip(ip(1)),
        SetKind::HashNet => Entry::Net(net(1)),
        SetKind::HashIpPort => Entry::IpPort(ip(1), protocol, n),
        SetKind::HashNetPort => Entry::NetPort(net(1), protocol, n),
        SetKind::HashIpPortIp => Entry::IpPortIp(ip(1), protocol, n, ip(2)),
        SetKind::HashIpPortNet => Entry::IpPortNet(ip(1), protocol, n, net(2)),
        SetKind::BitmapPort => Entry::Port(n),
    }
}

pub(crate) fn entries(spec: &SetSpec, numbers: impl IntoIterator<Item = u16>) -> Vec<Entry> {
    numbers
        .into_iter()
        .map(|n| entry(spec.kind, spec.family, n))
        .collect()
}

pub(crate) fn listed(subject: &mut dyn Subject, name: &str) -> Vec<Entry> {
    let mut entries: Vec<_> = subject
        .list(name)
        .iter()
        .map(|listed| listed.entry)
        .collect();
    entries.sort_unstable();
    entries
}

pub(crate) fn names(sets: &mut dyn AddressSets) -> Vec<String> {
    let mut names: Vec<_> = sets
        .headers("")
        .unwrap()
        .into_iter()
        .map(|header| header.spec.name)
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn header(subject: &mut dyn Subject, name: &str) -> SetHeader {
    let headers = subject.sets().headers(name).unwrap();
    headers
        .into_iter()
        .find(|header| header.spec.name == name)
        .unwrap()
}

pub(crate) fn left(listing: &[ListedEntry], entry: Entry) -> Option<u32> {
    listing
        .iter()
        .find(|listed| listed.entry == entry)
        .unwrap()
        .timeout_seconds
}
