//! Connection tracking entries: list and delete.

use std::net::IpAddr;

pub use crate::address_set::{Family, IpProtocol};

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
}

/// Errors of [`Conntrack`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConntrackError {
    /// The netlink socket failed.
    #[error("conntrack netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("conntrack: {operation}: kernel error {code}")]
    Kernel {
        /// What was asked.
        operation: &'static str,
        /// Positive errno.
        code: i32,
    },
}

/// The door to connection tracking.
pub trait Conntrack: Send {
    /// Calls `visit` for every entry of one family, one dump.
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError>;
    /// Deletes entries by their original tuple and zone; one that is gone already is no error. Returns how many were there.
    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError>;
}
