//! What the kernel tells beyond what it was told.

use super::{Destination, Service};

/// A virtual server as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedService {
    /// The virtual server.
    pub service: Service,
    /// Of all its real servers, those deleted included.
    pub statistics: Statistics,
}

/// A real server as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedDestination {
    /// The real server.
    pub destination: Destination,
    /// Connections now.
    pub connections: ConnectionCounts,
    /// Since it was created.
    pub statistics: Statistics,
}

/// Connections of a real server. A real server that was deleted while it had some gets them back when it is created again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Established.
    pub active: u32,
    /// All others: TCP on its way up or down, all of UDP.
    pub inactive: u32,
    /// Persistence templates (not connections).
    pub persistent: u32,
}

impl ConnectionCounts {
    /// Nothing refers to the real server.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// Counters, up to two seconds old. A kernel before 4.1 counts with 32 bits (bytes apart).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets to the real servers.
    pub packets_in: u64,
    /// Packets from them.
    pub packets_out: u64,
    /// Bytes to the real servers.
    pub bytes_in: u64,
    /// Bytes from them.
    pub bytes_out: u64,
    /// Connections per second, as all rates an average of the last seconds.
    pub connection_rate: u64,
    /// Packets per second to the real servers.
    pub packet_rate_in: u64,
    /// Packets per second from them.
    pub packet_rate_out: u64,
    /// Bytes per second to the real servers.
    pub byte_rate_in: u64,
    /// Bytes per second from them.
    pub byte_rate_out: u64,
}

/// Lifetimes of connections without traffic, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp_seconds: u32,
    /// TCP after a FIN.
    pub tcp_fin_seconds: u32,
    /// UDP.
    pub udp_seconds: u32,
}

/// What `IPVS_CMD_GET_INFO` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Major, minor, patch: 1.2.1 for ever so long.
    pub version: (u8, u8, u8),
    /// Buckets of the connection table: 2 to the power of the module's `conn_tab_bits`.
    pub connection_table_size: u32,
}

/// What a door has sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Netlink messages.
    pub messages: u64,
    /// Calls of send(2); each carries one message or many.
    pub sends: u64,
}
