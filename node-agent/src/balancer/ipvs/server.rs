//! A virtual server of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use sluice_kernel::address_set::{Entry, Family, IpProtocol};
use sluice_kernel::ipvs::VirtualServer;

/// Which virtual server, and the protocol of its packets, which one by mark does not tell itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Server {
    pub(super) key: VirtualServer,
    pub(super) protocol: IpProtocol,
}

impl Server {
    pub(super) fn at(protocol: IpProtocol, address: IpAddr, port: u16) -> Self {
        let key = VirtualServer::new(protocol, address, port);
        Self { key, protocol }
    }

    pub(super) fn marked(protocol: IpProtocol, family: Family, mark: NonZeroU32) -> Self {
        let key = VirtualServer::Mark { family, mark };
        Self { key, protocol }
    }

    /// Its connections are let end. A UDP flow has no end: its sender is led elsewhere at once.
    pub(super) fn lets_end(&self) -> bool {
        self.protocol != IpProtocol::UDP
    }

    /// The address that has to be the node's for packets to reach it. One by mark has those of its frontends.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.key {
            VirtualServer::Address { address, .. } => Some(address),
            VirtualServer::Mark { .. } => None,
        }
    }

    /// As the set of our virtual servers holds it.
    pub(super) fn entry(&self) -> Entry {
        let (address, port) = match self.key {
            VirtualServer::Address { address, port, .. } => (address, port),
            VirtualServer::Mark { family, mark } => (mark_as_address(family, mark), 0),
        };
        Entry::IpPort(address, self.protocol, port)
    }

    /// The other way round. No service has port 0.
    pub(super) fn of_entry(entry: Entry) -> Option<Self> {
        match entry {
            Entry::IpPort(address, protocol, 0) => {
                let mark = NonZeroU32::new(address_as_mark(address)?)?;
                Some(Self::marked(protocol, Family::of(address), mark))
            }
            Entry::IpPort(address, protocol, port) => Some(Self::at(protocol, address, port)),
            _ => None,
        }
    }
}

fn mark_as_address(family: Family, mark: NonZeroU32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(mark.get()).into(),
        Family::V6 => Ipv6Addr::from_bits(mark.get().into()).into(),
    }
}

fn address_as_mark(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(ip) => Some(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits().try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_kernel::address_set::IpProtocol;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_tells_the_virtual_server_again(
            address: IpAddr, port in 1..=u16::MAX, mark in 1..=u32::MAX, udp: bool, v6: bool, marked: bool,
        ) {
            let protocol = if udp { IpProtocol::UDP } else { IpProtocol::SCTP };
            let family = if v6 { Family::V6 } else { Family::V4 };
            let server = match NonZeroU32::new(mark) {
                Some(mark) if marked => Server::marked(protocol, family, mark),
                _ => Server::at(protocol, address, port),
            };
            prop_assert_eq!(Server::of_entry(server.entry()), Some(server));
        }
    }
}
