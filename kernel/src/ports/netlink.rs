//! The door to ports by route netlink.

use std::fmt;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::{EINVAL, ENODEV, ERANGE};
use super::{Port, PortError, Ports, message};
use crate::netlink::{NetlinkError, NetlinkSocket, Request};

/// [`Ports`] of the network namespace of the thread that opened it, whatever thread calls.
pub struct NetlinkPorts {
    socket: NetlinkSocket,
}

impl fmt::Debug for NetlinkPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetlinkPorts").finish_non_exhaustive()
    }
}

impl NetlinkPorts {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, PortError> {
        let socket = NetlinkSocket::open(NETLINK_ROUTE).map_err(|source| PortError::Socket {
            operation: "open",
            source,
        })?;
        Ok(Self { socket })
    }

    fn find(&mut self, request: Request, what: &str) -> Result<Option<Port>, PortError> {
        let mut found = None;
        let asked = self
            .socket
            .ask(&mut request.into_bytes(), &mut |kind, payload| {
                if kind == message::NEW_LINK {
                    found = Some(message::port(payload)?);
                }
                Ok(())
            });
        match asked {
            Ok(()) => Ok(found),
            // A name that no interface can have has another code in each kernel.
            Err(NetlinkError::Refused {
                code: ENODEV | ERANGE | EINVAL,
                ..
            }) => Ok(None),
            Err(error) => Err(PortError::of(error, format!("look at interface {what}"))),
        }
    }
}

impl Ports for NetlinkPorts {
    fn named(&mut self, name: &str) -> Result<Option<Port>, PortError> {
        self.find(message::question_by_name(name), name)
    }

    fn at(&mut self, index: u32) -> Result<Option<Port>, PortError> {
        self.find(message::question(index), &index.to_string())
    }

    fn set_hairpin(&mut self, index: u32, on: bool) -> Result<(), PortError> {
        let mut request = message::set_hairpin(index, on).into_bytes();
        self.socket
            .ask(&mut request, &mut |_, _| Ok(()))
            .map_err(|error| PortError::of(error, format!("set hairpin of interface {index}")))
    }
}
