//! Orders to route netlink: addresses and routes to add and to delete.

use std::num::NonZero;
use std::{fmt, io};

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_ERROR,
    NetlinkBuffer, NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::error::refusal;
use super::message::{address_message, route_message};
use super::{InterfaceAddress, LinkError, RefusedObject, Route};

/// Orders of one send. All may be refused, and the default receive buffer (208 KiB) holds that many refusals of at most
/// 1.3 KiB each, as the kernel counts them.
const BATCH: usize = 128;
const ANSWER_BYTES: usize = 16 * 1024;

/// One order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    AddAddress(&'a InterfaceAddress),
    DeleteAddress(&'a InterfaceAddress),
    AddRoute(&'a Route),
    DeleteRoute(&'a Route),
}

impl Order<'_> {
    fn message(self) -> NetlinkMessage<RouteNetlinkMessage> {
        let add = NLM_F_CREATE | NLM_F_REPLACE;
        let (what, flags) = match self {
            Self::AddAddress(address) => (
                RouteNetlinkMessage::NewAddress(address_message(address)),
                add,
            ),
            Self::DeleteAddress(address) => {
                let message = address_message(address);
                (RouteNetlinkMessage::DelAddress(message), 0)
            }
            Self::AddRoute(route) => (RouteNetlinkMessage::NewRoute(route_message(route)), add),
            Self::DeleteRoute(route) => (RouteNetlinkMessage::DelRoute(route_message(route)), 0),
        };
        let mut message = NetlinkMessage::from(what);
        message.header.flags = NLM_F_REQUEST | flags;
        message
    }
}

impl fmt::Display for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |InterfaceAddress {
                           interface,
                           address,
                           prefix_len,
                       }: &InterfaceAddress| {
            format!("address {address}/{prefix_len} of interface {interface}")
        };
        match self {
            Self::AddAddress(a) => write!(f, "add {}", address(a)),
            Self::DeleteAddress(a) => write!(f, "delete {}", address(a)),
            Self::AddRoute(route) => write!(f, "add route to {}", route.destination),
            Self::DeleteRoute(route) => write!(f, "delete route to {}", route.destination),
        }
    }
}

/// A socket that takes orders only. It blocks, and sends many at a time: an executor between each order and its answer would
/// take ten times as long.
#[derive(Debug)]
pub(super) struct OrderSocket {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl OrderSocket {
    /// Opens it in this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The kernel answers within send(2): an empty queue means a lost answer, for which nobody should wait.
        socket.set_non_blocking(true)?;
        // Else every refusal quotes the whole order.
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
            answer: Vec::with_capacity(ANSWER_BYTES),
        })
    }

    /// Gives orders, and returns those that were refused; the others are carried out all the same.
    pub(super) fn give<'a>(
        &mut self,
        mut orders: impl Iterator<Item = Order<'a>>,
    ) -> Result<Vec<RefusedObject>, LinkError> {
        let mut refused = Vec::new();
        let mut before = 0;
        loop {
            let batch: Vec<_> = orders.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(refused);
            }
            self.give_batch(&batch, |position, error| {
                let position = before + position;
                refused.push(RefusedObject { position, error });
            })?;
            before += batch.len();
        }
    }

    /// Only the last is acknowledged: the kernel answers in order, and tells a refusal unasked.
    fn give_batch(
        &mut self,
        batch: &[Order<'_>],
        mut refused: impl FnMut(usize, LinkError),
    ) -> Result<(), LinkError> {
        let failed = |operation| move |source| LinkError::Socket { operation, source };
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for (position, order) in batch.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = order.message();
            message.header.sequence_number = self.sequence;
            if position + 1 == batch.len() {
                message.header.flags |= NLM_F_ACK;
            }
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[start..]);
        }
        self.socket.send(&datagram, 0).map_err(failed("send"))?;
        loop {
            self.answer.clear();
            self.socket
                .recv(&mut self.answer, 0)
                .map_err(failed("receive"))?;
            for answer in answers(&self.answer) {
                let (sequence, code) = answer?;
                let position = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                // Others are left over from a batch whose answers were given up.
                if let Some(order) = batch.get(position) {
                    if let Some(code) = code {
                        refused(position, refusal(order.to_string(), code));
                    }
                    if position + 1 == batch.len() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Sequence number and error code of the answers in a datagram.
fn answers(mut datagram: &[u8]) -> impl Iterator<Item = Result<(u32, Option<i32>), LinkError>> {
    std::iter::from_fn(move || {
        while !datagram.is_empty() {
            let answer = answer(datagram);
            let length = NetlinkBuffer::new_checked(datagram)
                .map_or(datagram.len(), |m| m.length() as usize);
            datagram = datagram
                .get(length.next_multiple_of(4)..)
                .unwrap_or_default();
            if let Some(answer) = answer.transpose() {
                return Some(answer);
            }
        }
        None
    })
}

/// The first message, if it is an answer.
fn answer(datagram: &[u8]) -> Result<Option<(u32, Option<i32>)>, LinkError> {
    let malformed = |cut: DecodeError| LinkError::Malformed {
        operation: "change links, addresses or routes".to_owned(),
        message: cut.to_string(),
    };
    let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
    if message.message_type() != NLMSG_ERROR {
        return Ok(None);
    }
    let error = ErrorBuffer::new_checked(message.payload()).map_err(malformed)?;
    let code = error.code().map(NonZero::get);
    Ok(Some((message.sequence_number(), code)))
}
