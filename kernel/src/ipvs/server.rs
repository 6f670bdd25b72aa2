//! Virtual servers and real servers: which, and how.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use super::{Family, IpProtocol};

/// Which virtual server: what a packet must have to be balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VirtualServer {
    /// Packets to an address and port.
    Address {
        /// TCP, UDP or SCTP.
        protocol: IpProtocol,
        /// Virtual address (VIP).
        address: IpAddr,
        /// Port in host order; 0 is every port without a virtual server of its own, for a persistent one.
        port: u16,
    },
    /// Packets that a firewall rule marked, of all protocols.
    Mark {
        /// IP family.
        family: Family,
        /// The mark (`fwmark`).
        mark: NonZeroU32,
    },
}

impl VirtualServer {
    /// Of packets to an address and port.
    pub fn new(protocol: IpProtocol, address: IpAddr, port: u16) -> Self {
        Self::Address {
            protocol,
            address,
            port,
        }
    }

    /// Family of its packets.
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address, .. } => Family::of(address),
            Self::Mark { family, .. } => family,
        }
    }
}

/// A virtual server and how it balances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Which.
    pub server: VirtualServer,
    /// Scheduler, one of [`SCHEDULERS`](super::SCHEDULERS) unless the kernel has more; at most 15 bytes.
    pub scheduler: String,
    /// Flags whose meaning the scheduler gives.
    pub scheduler_flags: SchedulerFlags,
    /// Every UDP datagram is scheduled anew, and leaves no connection (`IP_VS_SVC_F_ONEPACKET`).
    pub one_packet: bool,
    /// A client stays with its real server.
    pub persistence: Option<Persistence>,
}

impl Service {
    /// One without persistence or flags.
    pub fn new(server: VirtualServer, scheduler: impl Into<String>) -> Self {
        Self {
            server,
            scheduler: scheduler.into(),
            scheduler_flags: SchedulerFlags::default(),
            one_packet: false,
            persistence: None,
        }
    }
}

/// Session affinity (`IP_VS_SVC_F_PERSISTENT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    /// Seconds after a client's last connection.
    pub timeout_seconds: u32,
    /// Which clients count as one.
    pub clients: ClientMask,
}

impl Persistence {
    /// Of each client address by itself.
    pub fn of_each_client(family: Family, timeout_seconds: u32) -> Self {
        Self {
            timeout_seconds,
            clients: ClientMask::whole(family),
        }
    }
}

/// The part of a client's address that persistence goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientMask {
    /// Netmask; the kernel takes any, contiguous or not.
    V4(Ipv4Addr),
    /// Prefix length, 1 to 128.
    V6(u8),
}

impl ClientMask {
    /// The whole address.
    pub fn whole(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// Family of the addresses.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

/// `IP_VS_SVC_F_SCHED1` to `3`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedulerFlags {
    /// `flag-1`; of `sh` and `mh`: fall back to another server where the one chosen has weight 0 or is overloaded.
    pub flag_1: bool,
    /// `flag-2`; of `sh` and `mh`: the client's port counts too.
    pub flag_2: bool,
    /// `flag-3`.
    pub flag_3: bool,
}

/// Which real server of a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealServer {
    /// Address.
    pub address: IpAddr,
    /// Port in host order.
    pub port: u16,
}

impl RealServer {
    /// At an address and port.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }
}

/// A real server and its part of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Which.
    pub server: RealServer,
    /// How packets get there.
    pub forward: Forward,
    /// Share of new connections, at most 2³¹-1. With 0 it gets none, and keeps those that it has.
    pub weight: u32,
    /// Connections (active and inactive) at which it gets no more; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again, at most the upper one; 0: three quarters of that.
    pub lower_threshold: u32,
}

impl Destination {
    /// One that is reached by address translation, without thresholds.
    pub fn new(server: RealServer, weight: u32) -> Self {
        Self {
            server,
            forward: Forward::Masquerade,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

/// Forwarding method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forward {
    /// Address translation (NAT).
    Masquerade,
    /// Taken by this node itself.
    Local,
    /// IP in IP; of another kind of tunnel only this much is told.
    Tunnel,
    /// Direct routing.
    Route,
    /// Cache bypass.
    Bypass,
}

impl fmt::Display for VirtualServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address {
                protocol,
                address,
                port,
            } => {
                match protocol {
                    IpProtocol::TCP => f.write_str("TCP")?,
                    IpProtocol::UDP => f.write_str("UDP")?,
                    IpProtocol::SCTP => f.write_str("SCTP")?,
                    IpProtocol(number) => write!(f, "protocol {number}")?,
                }
                write!(f, " {}", RealServer { address, port })
            }
            Self::Mark { family, mark } => match family {
                Family::V4 => write!(f, "FWM {mark}"),
                Family::V6 => write!(f, "FWM {mark} IPv6"),
            },
        }
    }
}

impl fmt::Display for RealServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}
