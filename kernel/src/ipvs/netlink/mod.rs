//! The kernel's IPVS, over generic netlink. No program is run.

mod attributes;
mod decode;
mod encode;
mod refusal;
#[cfg(test)]
mod round_trip;

use std::fs::File;
use std::io::{self, BufReader, Seek};

use netlink_sys::protocols::NETLINK_GENERIC;

use self::attributes::{FAMILY, command};
use self::refusal::{EINVAL, EPERM, ESRCH};
use super::check::check;
use super::connections::{self, ReadError};
use super::{
    Change, Connection, Info, Ipvs, IpvsError, ListedDestination, ListedService, Refused, Timeouts,
    Traffic, VirtualServer,
};
use crate::netlink::{NetlinkError, NetlinkSocket, ReadAnswer, Request, family_id};

/// Of the thread that opens it: `/proc/net` is that of the process's first thread.
const CONNECTIONS: &str = "/proc/thread-self/net/ip_vs_conn";

/// The door to IPVS, in the network namespace of the thread that opened it.
pub struct IpvsNetlink {
    socket: NetlinkSocket,
    /// Number of the generic netlink family.
    family: u16,
    /// Open from the beginning, as an open file stays with its namespace.
    connections: io::Result<File>,
}

impl IpvsNetlink {
    /// Opens a socket and asks whether IPVS is there. No module is loaded.
    ///
    /// # Errors
    /// [`IpvsError::Absent`] where the kernel has no IPVS (now), [`IpvsError::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, IpvsError> {
        let mut socket =
            NetlinkSocket::open(NETLINK_GENERIC).map_err(|source| IpvsError::Socket {
                operation: "open",
                source,
            })?;
        let family = family_id(&mut socket, FAMILY)
            .map_err(|error| refused("ask for its netlink family", error))?
            .ok_or(IpvsError::Absent)?;
        let mut door = Self {
            socket,
            family,
            connections: File::open(CONNECTIONS),
        };
        // The first question that needs the capability.
        door.info()?;
        Ok(door)
    }

    fn ask(
        &mut self,
        operation: &'static str,
        request: Request,
        read: &mut ReadAnswer<'_>,
    ) -> Result<(), IpvsError> {
        self.socket
            .ask(&mut request.into_bytes(), read)
            .map_err(|error| refused(operation, error))
    }
}

impl Ipvs for IpvsNetlink {
    fn services(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        let mut listed = Vec::new();
        let request = encode::services(self.family);
        self.ask("list virtual servers", request, &mut |_, payload| {
            listed.push(decode::listed_service(payload)?);
            Ok(())
        })?;
        Ok(listed)
    }

    fn destinations(&mut self, of: &VirtualServer) -> Result<Vec<ListedDestination>, IpvsError> {
        let mut listed = Vec::new();
        let request = encode::destinations(self.family, of);
        self.ask("list real servers", request, &mut |_, payload| {
            listed.push(decode::listed_destination(payload, of.family())?);
            Ok(())
        })?;
        if listed.is_empty() {
            // The dump of a virtual server that is not there is empty too.
            let request = encode::service(self.family, of);
            match self.ask("find a virtual server", request, &mut |_, _| Ok(())) {
                Err(IpvsError::Kernel { code: ESRCH, .. }) => {
                    return Err(IpvsError::NotFound { server: *of });
                }
                found => found?,
            }
        }
        Ok(listed)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError> {
        let refuse = |position: usize, change: &Change, cause| Refused {
            position,
            change: change.clone(),
            cause,
        };
        let (mut all, mut sound) = (Vec::new(), Vec::with_capacity(changes.len()));
        for (position, change) in changes.iter().enumerate() {
            match check(change) {
                Ok(()) => sound.push((position, change)),
                Err(cause) => all.push(refuse(position, change, cause)),
            }
        }
        let family = self.family;
        let orders = sound
            .iter()
            .map(|(_, change)| encode::change(family, change));
        let told = self
            .socket
            .order(orders)
            .map_err(|error| refused("apply changes", error))?;
        for order in told {
            if let Some((position, change)) = sound.get(order.position) {
                let cause = refusal::cause(change, order.code);
                all.push(refuse(*position, change, cause));
            }
        }
        all.sort_by_key(|refused| refused.position);
        Ok(all)
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        let mut timeouts = Timeouts::default();
        let request = encode::question(self.family, command::GET_CONFIG);
        self.ask("read the timeouts", request, &mut |_, payload| {
            timeouts = decode::timeouts(payload)?;
            Ok(())
        })?;
        Ok(timeouts)
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError> {
        let request = encode::set_timeouts(self.family, timeouts);
        match self.ask("set the timeouts", request, &mut |_, _| Ok(())) {
            Err(IpvsError::Kernel { code: EINVAL, .. }) => Err(IpvsError::InvalidTimeouts),
            answer => answer,
        }
    }

    fn info(&mut self) -> Result<Info, IpvsError> {
        const OPERATION: &str = "ask for information";
        let mut told = None;
        let request = encode::question(self.family, command::GET_INFO);
        self.ask(OPERATION, request, &mut |_, payload| {
            told = Some(decode::info(payload)?);
            Ok(())
        })?;
        told.ok_or_else(|| IpvsError::Malformed {
            operation: OPERATION,
            reason: "it is empty".to_owned(),
        })
    }

    fn connections(&mut self, visit: &mut dyn FnMut(&Connection)) -> Result<(), IpvsError> {
        let failed = |source| IpvsError::Connections {
            path: CONNECTIONS,
            source,
        };
        let mut list = match &self.connections {
            Ok(file) => file,
            Err(error) => return Err(failed(error.kind().into())),
        };
        list.rewind().map_err(failed)?;
        connections::read(BufReader::new(list), visit).map_err(|error| match error {
            ReadError::Io(source) => failed(source),
            ReadError::Malformed(reason) => IpvsError::Malformed {
                operation: "list connections",
                reason,
            },
        })
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            messages: self.socket.messages_sent(),
            sends: self.socket.sends(),
        }
    }
}

fn refused(operation: &'static str, error: NetlinkError) -> IpvsError {
    match error {
        NetlinkError::Socket { operation, source } => IpvsError::Socket { operation, source },
        NetlinkError::Refused { code: EPERM, .. } => IpvsError::NotPermitted,
        NetlinkError::Refused { code, .. } => IpvsError::Kernel { operation, code },
        NetlinkError::Interrupted => IpvsError::Malformed {
            operation,
            reason: "the dump was interrupted".to_owned(),
        },
        NetlinkError::Malformed(reason) => IpvsError::Malformed { operation, reason },
    }
}
