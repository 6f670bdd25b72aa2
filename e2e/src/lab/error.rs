//! Why a lab could not be built.

/// Errors of the lab itself, never of what is tested in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A namespace could not be made: labs need root (`CAP_SYS_ADMIN`).
    #[error("cannot make network namespace {name}: run as root")]
    Namespace {
        /// The namespace.
        name: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A namespace's thread ended before its work was done.
    #[error("the thread of namespace {name} is gone")]
    ThreadGone {
        /// The namespace.
        name: String,
    },
    /// A program failed.
    #[error("in namespace {namespace}: {program}: {message}")]
    Program {
        /// The namespace.
        namespace: String,
        /// Program and arguments.
        program: String,
        /// What it said.
        message: String,
    },
    /// A link did not come up.
    #[error("in namespace {namespace}: this link does not come up: {link}")]
    LinkDown {
        /// The namespace.
        namespace: String,
        /// The link as `ip` lists it.
        link: String,
    },
    /// A sysctl could not be written.
    #[error("in namespace {namespace}: cannot write {path}")]
    Sysctl {
        /// The namespace.
        namespace: String,
        /// Path below `/proc/sys`.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A host's counters could not be read.
    #[error("in namespace {namespace}: cannot read the TCP counters")]
    Counters {
        /// The namespace.
        namespace: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A server could not listen.
    #[error("{endpoint} cannot listen on {listen}")]
    Listen {
        /// Who.
        endpoint: String,
        /// Where, with the protocol.
        listen: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Sockets.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}
