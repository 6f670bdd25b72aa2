//! Why a conntrack request failed.

/// Errors of [`Conntrack`](super::Conntrack).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConntrackError {
    /// The netlink socket failed.
    #[error("conntrack netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("conntrack: {operation}: kernel error {code}")]
    Kernel {
        /// What was asked.
        operation: &'static str,
        /// Positive errno.
        code: i32,
    },
    /// The kernel has no netlink door to conntrack.
    #[error(
        "the kernel has no conntrack netlink: load the module nf_conntrack_netlink or use a kernel that has it"
    )]
    Unsupported,
    /// Not root in this network namespace (`EPERM`).
    #[error("connection tracking needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The table changed under every attempt to list it (`NLM_F_DUMP_INTR`).
    #[error("conntrack: the table changed all the time while it was listed: try again later")]
    Interrupted,
    /// An answer that could not be understood.
    #[error("conntrack: unexpected netlink answer to {operation}: {reason}")]
    Malformed {
        /// What was asked.
        operation: &'static str,
        /// What was wrong.
        reason: String,
    },
}
