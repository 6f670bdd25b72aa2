//! Numbers of `linux/netfilter/ipset/ip_set.h`.

/// `NFNL_SUBSYS_IPSET`.
pub(super) const SUBSYSTEM: u8 = 6;

/// Highest protocol version spoken here (`IPSET_PROTOCOL` since Linux 4.20; 6 before).
pub(super) const PROTOCOL: u8 = 7;

/// `enum ipset_cmd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Command {
    Protocol = 1,
    Create = 2,
    Destroy = 3,
    Swap = 6,
    List = 7,
    Add = 9,
    Delete = 10,
    Type = 13,
}

/// `IPSET_FLAG_LIST_HEADER`.
pub(super) const LIST_HEADER: u32 = 1 << 2;

/// `IPSET_FLAG_WITH_SKBINFO`.
pub(super) const WITH_SKBINFO: u32 = 1 << 6;

/// Attributes of a command.
pub(super) mod command {
    pub(in super::super) const PROTOCOL: u16 = 1;
    pub(in super::super) const SETNAME: u16 = 2;
    pub(in super::super) const TYPENAME: u16 = 3;
    pub(in super::super) const SETNAME2: u16 = 3;
    pub(in super::super) const REVISION: u16 = 4;
    pub(in super::super) const FAMILY: u16 = 5;
    pub(in super::super) const FLAGS: u16 = 6;
    pub(in super::super) const DATA: u16 = 7;
    pub(in super::super) const ADT: u16 = 8;
    pub(in super::super) const LINENO: u16 = 9;
    pub(in super::super) const PROTOCOL_MIN: u16 = 10;
    pub(in super::super) const REVISION_MIN: u16 = 10;
}

/// Attributes of a set.
pub(super) mod set {
    pub(in super::super) const PORT_FROM: u16 = 4;
    pub(in super::super) const PORT_TO: u16 = 5;
    pub(in super::super) const TIMEOUT: u16 = 6;
    pub(in super::super) const CADT_FLAGS: u16 = 8;
    pub(in super::super) const HASHSIZE: u16 = 18;
    pub(in super::super) const MAXELEM: u16 = 19;
    pub(in super::super) const ELEMENTS: u16 = 24;
    pub(in super::super) const REFERENCES: u16 = 25;
}

/// Attributes of an entry.
pub(super) mod entry {
    pub(in super::super) const IP: u16 = 1;
    pub(in super::super) const CIDR: u16 = 3;
    pub(in super::super) const PORT: u16 = 4;
    pub(in super::super) const TIMEOUT: u16 = 6;
    pub(in super::super) const PROTO: u16 = 7;
    pub(in super::super) const LINENO: u16 = 9;
    pub(in super::super) const IP2: u16 = 20;
    pub(in super::super) const CIDR2: u16 = 21;
    pub(in super::super) const SKBMARK: u16 = 27;
}

/// Attributes of an address.
pub(super) mod address {
    pub(in super::super) const IPV4: u16 = 1;
    pub(in super::super) const IPV6: u16 = 2;
}
