//! Why a link, address or route request failed.

// Of errno.h.
const EPERM: i32 = 1;
pub(super) const ENOENT: i32 = 2;
pub(super) const ESRCH: i32 = 3;
pub(super) const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
pub(super) const EINVAL: i32 = 22;
pub(super) const EOPNOTSUPP: i32 = 95;
pub(super) const EADDRNOTAVAIL: i32 = 99;
pub(super) const ENETDOWN: i32 = 100;

/// Errors of [`Links`](super::Links) and of what hears of its changes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The netlink socket failed.
    #[error("route netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// No interface has this index (`ENODEV`).
    #[error("{operation}: there is no such interface")]
    NoSuchInterface {
        /// What was asked.
        operation: String,
    },
    /// Hairpin is a flag of bridge ports, and this interface is none (`EOPNOTSUPP`).
    #[error("interface {interface} is not a port of a bridge: hairpin cannot be set on it")]
    NotABridgePort {
        /// Interface index.
        interface: u32,
    },
    /// The kernel has no dummy device (`EOPNOTSUPP`).
    #[error(
        "interface {name}: the kernel has no dummy device: load the module dummy or use a kernel that has it"
    )]
    NoDummyDevice {
        /// The device that was to be.
        name: String,
    },
    /// The name of a device to be is taken by one of another kind.
    #[error("interface {name} is {}, not a dummy device: rename or delete it", kind.as_deref().unwrap_or("a real device"))]
    OtherKind {
        /// The name.
        name: String,
        /// [`Link::kind`](super::Link::kind) of the one there is.
        kind: Option<String>,
    },
    /// Not root in this network namespace (`EPERM`).
    #[error("{operation}: this needs CAP_NET_ADMIN")]
    NotPermitted {
        /// What was asked.
        operation: String,
    },
    /// Any other answer of the kernel.
    #[error("{operation}: {}", std::io::Error::from_raw_os_error(*.code))]
    Kernel {
        /// What was asked.
        operation: String,
        /// Positive errno.
        code: i32,
    },
    /// An answer that could not be understood.
    #[error("{operation}: unexpected netlink answer: {message}")]
    Malformed {
        /// What was asked.
        operation: String,
        /// What came.
        message: String,
    },
}

/// What the kernel means by an errno of either sign.
pub(super) fn refusal(operation: String, code: i32) -> LinkError {
    match code.saturating_abs() {
        EPERM => LinkError::NotPermitted { operation },
        ENODEV => LinkError::NoSuchInterface { operation },
        code => LinkError::Kernel { operation, code },
    }
}
