//! What every address set takes and refuses, whoever keeps it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{AddressSetError, Entry, Family, SetKind, SetSpec};

/// `IPSET_MAXNAMELEN` less the terminator.
const MAX_NAME_BYTES: usize = 31;
/// Ports of a `bitmap:port`.
pub(super) const ALL_PORTS: u32 = 65_536;
/// `IPSET_MIMINAL_HASHSIZE`.
const MIN_HASH_SIZE: u32 = 64;
const MAX_HASH_SIZE: u32 = 1 << 31;

/// Refuses a name that the kernel does not take.
pub(super) fn check_name(name: &str) -> Result<(), AddressSetError> {
    let what = match name.len() {
        0 => "a set needs a name".to_owned(),
        1..=MAX_NAME_BYTES => return Ok(()),
        bytes => format!("its name has {bytes} bytes; use at most {MAX_NAME_BYTES}"),
    };
    Err(AddressSetError::Mismatch {
        name: name.to_owned(),
        what,
    })
}

/// Refuses an entry that is not of the set's kind and family, or that the kernel never takes.
pub(super) fn check_entry(set: &SetSpec, entry: &Entry) -> Result<(), AddressSetError> {
    let mismatch = |what: String| {
        Err(AddressSetError::Mismatch {
            name: set.name.clone(),
            what,
        })
    };
    if entry.kind() != set.kind {
        return mismatch(format!("{entry:?} is not an entry of {}", set.kind));
    }
    let (address, other, network) = match *entry {
        Entry::Port(_) => return Ok(()),
        Entry::Ip(ip) | Entry::IpPort(ip, ..) => (ip, None, None),
        Entry::Net(net) | Entry::NetPort(net, ..) => (net.addr(), None, Some(net)),
        Entry::IpPortIp(ip, _, _, ip2) => (ip, Some(ip2), None),
        Entry::IpPortNet(ip, _, _, net) => (ip, Some(net.addr()), Some(net)),
    };
    if [Some(address), other]
        .into_iter()
        .flatten()
        .any(|ip| Family::of(ip) != set.family)
    {
        return mismatch(format!("{entry:?} is not of family {:?}", set.family));
    }
    if network.is_some_and(|net| net.prefix_len() == 0) {
        return mismatch(format!(
            "{entry:?} has prefix length 0; use the two halves of length 1"
        ));
    }
    if matches!(entry, Entry::Ip(ip) if ip.is_unspecified()) {
        return mismatch(format!(
            "{entry:?}: hash:ip cannot hold the unspecified address"
        ));
    }
    Ok(())
}

/// Hash buckets for the entries expected: one each, as a power of two, so that adding them never makes the kernel rehash.
pub(super) fn hash_size(set: &SetSpec) -> u32 {
    if set.kind == SetKind::BitmapPort {
        return ALL_PORTS;
    }
    let entries = set.expected_entries.min(set.max_entries);
    entries
        .clamp(MIN_HASH_SIZE, MAX_HASH_SIZE)
        .next_power_of_two()
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Entry {
    /// The kind of set that it belongs in.
    pub fn kind(&self) -> SetKind {
        match self {
            Self::Ip(_) => SetKind::HashIp,
            Self::Net(_) => SetKind::HashNet,
            Self::IpPort(..) => SetKind::HashIpPort,
            Self::NetPort(..) => SetKind::HashNetPort,
            Self::IpPortIp(..) => SetKind::HashIpPortIp,
            Self::IpPortNet(..) => SetKind::HashIpPortNet,
            Self::Port(_) => SetKind::BitmapPort,
        }
    }

    /// As the kernel keeps and lists it: a network without host bits.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Net(net) => Self::Net(IpNet::trunc(&net)),
            Self::NetPort(net, protocol, port) => Self::NetPort(net.trunc(), protocol, port),
            Self::IpPortNet(ip, protocol, port, net) => {
                Self::IpPortNet(ip, protocol, port, net.trunc())
            }
            Self::Ip(_) | Self::IpPort(..) | Self::IpPortIp(..) | Self::Port(_) => self,
        }
    }
}
