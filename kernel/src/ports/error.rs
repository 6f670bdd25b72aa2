//! Why a port could not be asked for or changed.

use std::io;

use crate::netlink::NetlinkError;

const EPERM: i32 = 1;
pub(super) const ENODEV: i32 = 19;
pub(super) const ERANGE: i32 = 34;
pub(super) const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// Errors of [`Ports`](super::Ports).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The netlink socket failed.
    #[error("route netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It went away (`ENODEV`).
    #[error("{operation}: there is no such interface")]
    NoSuchInterface {
        /// What was asked.
        operation: String,
    },
    /// Hairpin is a flag of bridge ports, and this interface is none (`EOPNOTSUPP`).
    #[error("{operation}: the interface is not a port of a bridge")]
    NotABridgePort {
        /// What was asked.
        operation: String,
    },
    /// Not root in this network namespace (`EPERM`).
    #[error("{operation}: this needs CAP_NET_ADMIN")]
    NotPermitted {
        /// What was asked.
        operation: String,
    },
    /// Any other answer of the kernel.
    #[error("{operation}: {}", io::Error::from_raw_os_error(*.code))]
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

impl PortError {
    pub(super) fn of(error: NetlinkError, operation: String) -> Self {
        match error {
            NetlinkError::Socket { operation, source } => Self::Socket { operation, source },
            NetlinkError::Refused { code, .. } => match code {
                EPERM => Self::NotPermitted { operation },
                ENODEV => Self::NoSuchInterface { operation },
                EOPNOTSUPP => Self::NotABridgePort { operation },
                code => Self::Kernel { operation, code },
            },
            NetlinkError::Interrupted => Self::Malformed {
                operation,
                message: "the answer was interrupted".to_owned(),
            },
            NetlinkError::Malformed(message) => Self::Malformed { operation, message },
        }
    }
}
