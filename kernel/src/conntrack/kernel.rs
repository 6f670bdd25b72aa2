//! The kernel's connection tracking, over nfnetlink (`NFNL_SUBSYS_CTNETLINK`).

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::statistics::ConntrackStatistics;
use super::{Conntrack, ConntrackError, Family, Flow, codec};
use crate::netlink::{
    NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_UNSPEC, NetlinkError, NetlinkSocket, Request, settled,
};

/// `NFNL_SUBSYS_CTNETLINK`, linux/netfilter/nfnetlink.h
const SUBSYSTEM: u8 = 1;

// `enum cntl_msg_types`, linux/netfilter/nfnetlink_conntrack.h
const GET: u8 = 1;
const GET_STATS_CPU: u8 = 4;
const GET_STATS: u8 = 5;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
/// nfnetlink's answer for a subsystem that it lacks.
const EINVAL: i32 = 22;

/// The door to connection tracking in the network namespace of the thread that opened it.
///
/// The kernel tracks connections in a namespace only while a rule there needs it.
pub struct ConntrackNetlink {
    socket: NetlinkSocket,
}

impl ConntrackNetlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// [`ConntrackError::Unsupported`] where the kernel has no conntrack netlink, [`ConntrackError::NotPermitted`] without
    /// `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, ConntrackError> {
        let socket =
            NetlinkSocket::open(NETLINK_NETFILTER).map_err(|source| ConntrackError::Socket {
                operation: "open",
                source,
            })?;
        let mut door = Self { socket };
        match door.table() {
            Err(ConntrackError::Kernel { code: EINVAL, .. }) => Err(ConntrackError::Unsupported),
            answer => answer.map(|_| door),
        }
    }

    /// Netlink messages sent since it was opened.
    pub fn messages_sent(&self) -> u64 {
        self.socket.messages_sent()
    }

    /// Reads the counters of this network namespace. Entries are not visited.
    pub fn statistics(&mut self) -> Result<ConntrackStatistics, ConntrackError> {
        let mut statistics = self.table()?;
        let message = Request::netfilter(SUBSYSTEM, GET_STATS_CPU, NLM_F_DUMP, NFPROTO_UNSPEC);
        self.socket
            .ask(&mut message.into_bytes(), &mut |_, payload| {
                statistics.take_cpu(payload)
            })
            .map_err(|error| refused("read the counters", error))?;
        Ok(statistics)
    }

    fn table(&mut self) -> Result<ConntrackStatistics, ConntrackError> {
        let mut statistics = ConntrackStatistics::default();
        let message = Request::netfilter(SUBSYSTEM, GET_STATS, 0, NFPROTO_UNSPEC);
        self.socket
            .ask(&mut message.into_bytes(), &mut |_, payload| {
                statistics.take_table(payload)
            })
            .map_err(|error| refused("read the table's size", error))?;
        Ok(statistics)
    }
}

impl Conntrack for ConntrackNetlink {
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError> {
        let protocol_family = match family {
            Family::V4 => NFPROTO_IPV4,
            Family::V6 => NFPROTO_IPV6,
        };
        let message = Request::netfilter(SUBSYSTEM, GET, NLM_F_DUMP, protocol_family);
        let mut message = message.into_bytes();
        settled(|| {
            self.socket.ask(&mut message, &mut |message_type, payload| {
                if let Some(flow) = codec::decode(message_type, payload)? {
                    visit(&flow);
                }
                Ok(())
            })
        })
        .map_err(|error| refused("list", error))
    }

    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        let mut deleted = 0;
        for flow in flows {
            let mut request = codec::delete(flow).into_bytes();
            match self.socket.ask(&mut request, &mut |_, _| Ok(())) {
                Ok(()) => deleted += 1,
                Err(NetlinkError::Refused { code: ENOENT, .. }) => {}
                Err(error) => return Err(refused("delete", error)),
            }
        }
        Ok(deleted)
    }
}

fn refused(operation: &'static str, error: NetlinkError) -> ConntrackError {
    match error {
        NetlinkError::Socket { operation, source } => ConntrackError::Socket { operation, source },
        NetlinkError::Refused { code: EPERM, .. } => ConntrackError::NotPermitted,
        NetlinkError::Refused { code, .. } => ConntrackError::Kernel { operation, code },
        NetlinkError::Interrupted => ConntrackError::Interrupted,
        NetlinkError::Malformed(reason) => ConntrackError::Malformed { operation, reason },
    }
}
