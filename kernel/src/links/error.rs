//! Why a link, address or route request failed.

/// Errors of [`Links`](super::Links) and [`AddressEvents`](super::AddressEvents).
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
