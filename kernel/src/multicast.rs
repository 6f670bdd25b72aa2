//! Netlink sockets that hear what the kernel tells to everyone.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// More than any datagram of a multicast group holds.
const BUFFER: usize = 64 * 1024;
const ENOBUFS: i32 = 105;

/// A socket that only listens. It lives in the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct MulticastSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What came.
pub(crate) enum Received<'a> {
    /// Netlink messages.
    Datagram(&'a [u8]),
    /// The kernel had more to tell than the socket takes, and dropped some of it.
    Overrun,
    /// Nothing more for now.
    Nothing,
}

impl MulticastSocket {
    /// Joins groups by number, after `prepare` has had its way with the socket.
    pub(crate) fn open(
        protocol: isize,
        groups: &[u32],
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        prepare(&socket)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Takes the next datagram, without waiting.
    pub(crate) fn receive(&mut self) -> io::Result<Received<'_>> {
        loop {
            self.buffer.clear();
            return match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => Ok(Received::Datagram(&self.buffer)),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
                Err(e) if e.raw_os_error() == Some(ENOBUFS) => Ok(Received::Overrun),
                Err(e) => Err(e),
            };
        }
    }
}

/// Waits until one of the sockets has something; false when none had within `timeout`, or a signal came.
pub(crate) fn wait_any(sockets: &[&MulticastSocket], timeout: Duration) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
