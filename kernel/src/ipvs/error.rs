//! Why a request to IPVS failed.

use super::{Change, VirtualServer};

/// Errors of [`Ipvs`](super::Ipvs).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpvsError {
    /// Generic netlink has no family `IPVS`.
    #[error("IPVS is absent: the module ip_vs is not loaded: load it, or use a kernel that has it")]
    Absent,
    /// Not root in this network namespace (`EPERM`).
    #[error("IPVS needs CAP_NET_ADMIN")]
    NotPermitted,
    /// `ESRCH`
    #[error("virtual server {server} does not exist")]
    NotFound {
        /// The virtual server.
        server: VirtualServer,
    },
    /// `EINVAL` to new timeouts: one is beyond what the kernel's clock counts.
    #[error("the kernel refuses these IPVS timeouts: use fewer seconds")]
    InvalidTimeouts,
    /// Any other answer of the kernel.
    #[error("IPVS: {operation}: kernel error {code}")]
    Kernel {
        /// What was asked.
        operation: &'static str,
        /// Positive errno.
        code: i32,
    },
    /// The netlink socket failed.
    #[error("IPVS netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// An answer that could not be understood.
    #[error("IPVS: unexpected answer to {operation}: {reason}")]
    Malformed {
        /// What was asked.
        operation: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// The list of connections could not be read.
    #[error("cannot read the IPVS connections at {path}")]
    Connections {
        /// The file.
        path: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}: {cause}")]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub position: usize,
    /// The change.
    pub change: Change,
    /// Why.
    pub cause: Cause,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// `EEXIST`
    #[error("it exists already: set it instead")]
    Exists,
    /// `ESRCH`
    #[error("there is no such virtual server: create it first")]
    NoSuchVirtualServer,
    /// `ENOENT`
    #[error("there is no such real server")]
    NoSuchRealServer,
    /// `ENOENT`: the kernel looked for a module too.
    #[error("the kernel has no scheduler {0:?}: choose another, or install the module ip_vs_{0}")]
    NoSuchScheduler(String),
    /// `ERANGE`
    #[error(
        "the weight is above 2147483647, or the lower threshold is above the upper: lower the one, or raise the other"
    )]
    OutOfRange,
    /// `EINVAL` for a new real server: no unicast route leads to the address. In a new network namespace none does before
    /// `lo` is up.
    #[error(
        "the address is neither unicast nor local: give a reachable address, with lo up, and not a link-local one"
    )]
    BadAddress,
    /// What no kernel takes; it was not sent.
    #[error("{0}")]
    Invalid(String),
    /// `EAFNOSUPPORT`
    #[error("this kernel's IPVS has no IPv6: use a kernel with CONFIG_IP_VS_IPV6")]
    NoSuchFamily,
    /// `ENOMEM`, `ENOSPC`, `ENOBUFS`
    #[error("the kernel is out of memory: have fewer virtual and real servers, or more memory")]
    NoMemory,
    /// `EPERM`
    #[error("it needs CAP_NET_ADMIN")]
    NotPermitted,
    /// Any other answer of the kernel: positive errno.
    #[error("kernel error {0}")]
    Kernel(i32),
}
