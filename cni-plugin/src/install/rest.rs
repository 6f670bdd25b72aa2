//! The pause between two looks, which a request to end cuts short.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::InstallError;

/// From its making on, SIGTERM and SIGINT no longer end the process by themselves. In a container it is process 1, which they would not end
/// either: its pod would stay until the kubelet's patience ends.
#[derive(Debug)]
pub(super) struct Rest {
    requests: SignalFd,
}

impl Rest {
    pub(super) fn new() -> Result<Self, InstallError> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        let requests = signals
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC));
        let requests = requests.map_err(InstallError::signals)?;
        Ok(Self { requests })
    }

    /// False when the process is to end.
    pub(super) fn pause(&self, pause: Duration) -> Result<bool, InstallError> {
        let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
        let mut request = [PollFd::new(self.requests.as_fd(), PollFlags::POLLIN)];
        match poll(&mut request, timeout) {
            Ok(asked) => Ok(asked == 0),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(InstallError::signals(errno)),
        }
    }
}
