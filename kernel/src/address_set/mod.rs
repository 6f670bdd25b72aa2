//! Sets of addresses, networks and ports in the kernel, whatever keeps them there (ipset today).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

mod error;
mod ipset;
mod limits;
mod memory;

pub use error::AddressSetError;
pub use ipset::IpsetNetlink;
pub use memory::{MemorySets, Operation};

/// IP family of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Layer-4 protocol number of an entry (`IPPROTO_TCP` 6, `IPPROTO_UDP` 17, `IPPROTO_SCTP` 132).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

/// What the entries of a set are. The names are ipset's type names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `hash:ip`
    HashIp,
    /// `hash:net`
    HashNet,
    /// `hash:ip,port`
    HashIpPort,
    /// `hash:net,port`
    HashNetPort,
    /// `hash:ip,port,ip`
    HashIpPortIp,
    /// `hash:ip,port,net`
    HashIpPortNet,
    /// `bitmap:port`, all 65,536 ports; has no family.
    BitmapPort,
}

impl SetKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::HashIp,
        Self::HashNet,
        Self::HashIpPort,
        Self::HashNetPort,
        Self::HashIpPortIp,
        Self::HashIpPortNet,
        Self::BitmapPort,
    ];
}

/// How a set is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSpec {
    /// Name, at most 31 bytes (`IPSET_MAXNAMELEN` less the terminator).
    pub name: String,
    /// What its entries are.
    pub kind: SetKind,
    /// Family of its addresses.
    pub family: Family,
    /// Upper bound of entries (`maxelem`); ignored by `bitmap:port`.
    pub max_entries: u32,
    /// Entries it is presized for (`hashsize`).
    pub expected_entries: u32,
    /// Default lifetime of entries in seconds; present makes it a set with timeouts (0: entries stay unless they bring their own).
    pub timeout_seconds: Option<u32>,
    /// Whether entries can carry a [`Mark`] (`skbinfo`).
    pub marks: bool,
}

/// A firewall mark that a rule takes from the entry that it finds (`SET --map-set … --map-mark`): the bits of `mask` are
/// cleared in the packet's mark, then those of `value` flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Bits to set.
    pub value: u32,
    /// Bits to replace.
    pub mask: u32,
}

/// One entry. Its variant must be the one of the set's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Of `hash:ip`.
    Ip(IpAddr),
    /// Of `hash:net`. A prefix length of 0 is refused by the kernel (in every kind with a network).
    Net(IpNet),
    /// Of `hash:ip,port`.
    IpPort(IpAddr, IpProtocol, u16),
    /// Of `hash:net,port`.
    NetPort(IpNet, IpProtocol, u16),
    /// Of `hash:ip,port,ip`.
    IpPortIp(IpAddr, IpProtocol, u16, IpAddr),
    /// Of `hash:ip,port,net`.
    IpPortNet(IpAddr, IpProtocol, u16, IpNet),
    /// Of `bitmap:port`.
    Port(u16),
}

/// An entry as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedEntry {
    /// The entry.
    pub entry: Entry,
    /// Seconds left; absent in sets without timeouts, 0 for an entry that stays.
    pub timeout_seconds: Option<u32>,
    /// The mark it carries, unless both of its numbers are 0.
    pub mark: Option<Mark>,
}

/// What goes with an entry besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Attachment {
    timeout_seconds: Option<u32>,
    mark: Option<Mark>,
}

impl Attachment {
    fn lifetime(seconds: u32) -> Self {
        Self {
            timeout_seconds: Some(seconds),
            ..Self::default()
        }
    }

    fn mark(mark: Mark) -> Self {
        Self {
            mark: Some(mark),
            ..Self::default()
        }
    }
}

/// What the kernel tells of a set without listing its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetHeader {
    /// As it was created. `expected_entries` is the present hash size.
    pub spec: SetSpec,
    /// Number of entries.
    pub entries: u32,
    /// Number of rules (and list:set sets) that refer to it.
    pub references: u32,
}

/// The door to address sets.
///
/// `add` and `delete` are idempotent: an entry that is there already, or is gone already, is no error.
/// Batches are cut to what one netlink message and one socket buffer take.
pub trait AddressSets: Send {
    /// Creates a set. [`AddressSetError::Exists`] when the name is taken.
    fn create(&mut self, spec: &SetSpec) -> Result<(), AddressSetError>;
    /// Destroys a set. [`AddressSetError::InUse`] while a rule refers to it.
    fn destroy(&mut self, name: &str) -> Result<(), AddressSetError>;
    /// Adds entries. The error names the first entry refused; entries before it in the batch may be in.
    fn add(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError>;
    /// Adds entries with a lifetime each, in seconds; an entry that is there gets the new lifetime.
    fn add_with_timeout(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, u32)],
    ) -> Result<(), AddressSetError>;
    /// Adds entries with a mark each; an entry that is there gets the new mark, and with [`AddressSets::add`] none.
    /// The set must have been created for marks.
    fn add_marked(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, Mark)],
    ) -> Result<(), AddressSetError>;
    /// Deletes entries.
    fn delete(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError>;
    /// Exchanges two sets of the same kind and family in one step: contents, limits and default lifetime. A rule that refers
    /// to a name goes on with that name.
    fn swap(&mut self, one: &str, other: &str) -> Result<(), AddressSetError>;
    /// Headers of all sets whose name starts so; nothing is listed. Sets of a type that is no [`SetKind`] are left out.
    /// `bitmap:port` is told as [`Family::V4`], with 65,536 as both of its sizes.
    fn headers(&mut self, prefix: &str) -> Result<Vec<SetHeader>, AddressSetError>;
    /// Entries of one set, in no particular order, each as [`Entry::canonical`] makes it.
    fn list(&mut self, name: &str) -> Result<Vec<ListedEntry>, AddressSetError>;
}

impl fmt::Display for SetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HashIp => "hash:ip",
            Self::HashNet => "hash:net",
            Self::HashIpPort => "hash:ip,port",
            Self::HashNetPort => "hash:net,port",
            Self::HashIpPortIp => "hash:ip,port,ip",
            Self::HashIpPortNet => "hash:ip,port,net",
            Self::BitmapPort => "bitmap:port",
        })
    }
}
