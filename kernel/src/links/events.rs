//! Notices that addresses or links changed.

use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::LinkError;
use crate::multicast::{MulticastSocket, Received, wait_any};

// `RTNLGRP_*` of rtnetlink.h.
const LINK: u32 = 1;
const IPV4_ADDRESS: u32 = 5;
const IPV6_ADDRESS: u32 = 9;

/// Hears of every address and link that comes, goes or changes in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct AddressEvents {
    socket: MulticastSocket,
}

impl AddressEvents {
    /// Begins to listen. Look at the addresses after this, not before, and no change is missed.
    pub fn open() -> Result<Self, LinkError> {
        let socket =
            MulticastSocket::open(NETLINK_ROUTE, &[LINK, IPV4_ADDRESS, IPV6_ADDRESS], |_| {
                Ok(())
            })
            .map_err(|source| LinkError::Socket {
                operation: "listen for address changes",
                source,
            })?;
        Ok(Self { socket })
    }

    /// Waits up to `timeout` for a change, and says whether there was one. All that came until then count as one, and so
    /// does an overrun of the socket.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, LinkError> {
        let failed = |source| LinkError::Socket {
            operation: "wait for address changes",
            source,
        };
        if !wait_any(&[&self.socket], timeout).map_err(failed)? {
            return Ok(false);
        }
        let mut changed = false;
        while !matches!(self.socket.receive().map_err(failed)?, Received::Nothing) {
            changed = true;
        }
        Ok(changed)
    }
}
