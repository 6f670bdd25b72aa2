//! Connection tracking entries: list and delete.

mod codec;
mod error;
mod kernel;
mod memory;
mod statistics;

use std::net::IpAddr;

pub use crate::address_set::{Family, IpProtocol};
pub use error::ConntrackError;
pub use kernel::ConntrackNetlink;
pub use memory::MemoryConntrack;
pub use statistics::ConntrackStatistics;

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port, 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// One conntrack entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Family.
    pub family: Family,
    /// Protocol.
    pub protocol: IpProtocol,
    /// As the first packet came in.
    pub original: Tuple,
    /// As answers are expected: its source is where the flow really goes.
    pub reply: Tuple,
    /// Conntrack zone.
    pub zone: u16,
    /// The destination was translated (`IPS_DST_NAT`).
    pub destination_translated: bool,
    /// The source was translated by rules (`IPS_SRC_NAT`); what IPVS changes in a reply is not told by it.
    pub source_translated: bool,
}

/// The door to connection tracking.
pub trait Conntrack: Send {
    /// Calls `visit` for every TCP, UDP and SCTP entry of one family, as the dump comes in: nothing is gathered. A dump that
    /// the kernel calls interrupted is taken again, so an entry may be visited twice.
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError>;
    /// Deletes entries by their original tuple and zone; one that is gone already is no error. Returns how many were there.
    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError>;
}
