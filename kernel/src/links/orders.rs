//! Orders to route netlink: addresses and routes to add and to delete.

use std::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;

use super::error::refusal;
use super::message::{address_message, route_message};
use super::{InterfaceAddress, LinkError, RefusedObject, Route};
use crate::netlink::{NetlinkError, NetlinkSocket, RefusedOrder, Request};

/// One order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    AddAddress(&'a InterfaceAddress),
    DeleteAddress(&'a InterfaceAddress),
    AddRoute(&'a Route),
    DeleteRoute(&'a Route),
}

impl Order<'_> {
    fn request(self) -> Request {
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
        message.header.flags = flags;
        Request::of(message)
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

/// Gives an order for each object, and returns the objects whose order was refused; the others are carried out all the same.
pub(super) fn give<'a, T>(
    socket: &mut NetlinkSocket,
    objects: &'a [T],
    order: fn(&'a T) -> Order<'a>,
) -> Result<Vec<RefusedObject>, LinkError> {
    let requests = objects.iter().map(|object| order(object).request());
    let told = socket.order(requests).map_err(broken_off)?;
    let refused = told
        .into_iter()
        .filter_map(|RefusedOrder { position, code }| {
            let operation = order(objects.get(position)?).to_string();
            Some(RefusedObject {
                position,
                error: refusal(operation, code),
            })
        });
    Ok(refused.collect())
}

fn broken_off(error: NetlinkError) -> LinkError {
    let operation = "change addresses or routes".to_owned();
    match error {
        NetlinkError::Socket { operation, source } => LinkError::Socket { operation, source },
        NetlinkError::Refused { code, .. } => refusal(operation, code),
        NetlinkError::Interrupted => LinkError::Malformed {
            operation,
            message: "the dump was interrupted".to_owned(),
        },
        NetlinkError::Malformed(message) => LinkError::Malformed { operation, message },
    }
}
