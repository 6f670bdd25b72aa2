//! Notices that routes were lost.

use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{LinkError, Route, message};
use crate::multicast::{MulticastSocket, Received, wait_any};
use crate::netlink::messages;

// `RTNLGRP_*` of rtnetlink.h.
const LINK: u32 = 1;
const IPV4_ROUTE: u32 = 7;
const IPV6_ROUTE: u32 = 11;

// `RTM_*` of rtnetlink.h; all other messages are passed over unread.
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const DELETED_ROUTE: u16 = 25;

/// What was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteNotice {
    /// The interface of this index is down: IPv6 routes by it went, and IPv4 ones that are no local routes.
    LinkDown(u32),
    /// The interface of this index is gone, and all routes by it.
    LinkGone(u32),
    /// This route was deleted, by whomever: the listener's own process too. The kernel does not tell each route that goes
    /// with a link or with a source address.
    RouteGone(Route),
    /// There was more than could be told: anything may have been lost.
    Overrun,
}

/// Hears of links that go down and of routes of one maker that are deleted, in the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct RouteEvents {
    socket: MulticastSocket,
    protocol: u8,
}

impl RouteEvents {
    /// Begins to listen for routes of this maker ([`Route::protocol`]). Look at the routes after this, not before, and no
    /// loss is missed.
    pub fn open(protocol: u8) -> Result<Self, LinkError> {
        let groups = [LINK, IPV4_ROUTE, IPV6_ROUTE];
        let socket =
            MulticastSocket::open(NETLINK_ROUTE, &groups, |_| Ok(())).map_err(|source| {
                LinkError::Socket {
                    operation: "listen for lost routes",
                    source,
                }
            })?;
        Ok(Self { socket, protocol })
    }

    /// Waits up to `timeout`, and gives what was lost meanwhile, oldest first; nothing if nothing was. It may return early
    /// with nothing, when what came was about other routes.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<RouteNotice>, LinkError> {
        let failed = |source| LinkError::Socket {
            operation: "wait for lost routes",
            source,
        };
        let mut notices = Vec::new();
        if !wait_any(&[&self.socket], timeout).map_err(failed)? {
            return Ok(notices);
        }
        loop {
            match self.socket.receive().map_err(failed)? {
                Received::Nothing => return Ok(notices),
                Received::Overrun => notices.push(RouteNotice::Overrun),
                Received::Datagram(datagram) => read(datagram, self.protocol, &mut notices)?,
            }
        }
    }
}

fn read(datagram: &[u8], protocol: u8, notices: &mut Vec<RouteNotice>) -> Result<(), LinkError> {
    let malformed = |message: String| LinkError::Malformed {
        operation: "wait for lost routes".to_owned(),
        message,
    };
    for message in messages(datagram) {
        let message = message.map_err(malformed)?;
        if matches!(
            message.message_type(),
            NEW_LINK | DELETED_LINK | DELETED_ROUTE
        ) {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message.into_inner())
                .map_err(|error| malformed(error.to_string()))?;
            notices.extend(notice(&message.payload, protocol));
        }
    }
    Ok(())
}

fn notice(payload: &NetlinkPayload<RouteNetlinkMessage>, protocol: u8) -> Option<RouteNotice> {
    let NetlinkPayload::InnerMessage(message) = payload else {
        return None;
    };
    match message {
        // A bridge tells of its own that a port has left it.
        RouteNetlinkMessage::DelLink(link) | RouteNetlinkMessage::NewLink(link)
            if link.header.interface_family != AddressFamily::Unspec =>
        {
            None
        }
        RouteNetlinkMessage::DelLink(link) => Some(RouteNotice::LinkGone(link.header.index)),
        RouteNetlinkMessage::NewLink(link) if !link.header.flags.contains(LinkFlags::Up) => {
            Some(RouteNotice::LinkDown(link.header.index))
        }
        RouteNetlinkMessage::DelRoute(route) => message::route(route)
            .filter(|route| route.protocol == protocol)
            .map(RouteNotice::RouteGone),
        _ => None,
    }
}
