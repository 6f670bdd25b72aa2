//! Why an iptables program failed.

use super::{Family, Table, Variant};

/// Errors of [`Iptables`](super::Iptables).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IptablesError {
    /// No such program on this node.
    #[error("{program} is not installed: install the package iptables, or choose the other variant")]
    NotInstalled {
        /// Program name.
        program: String,
    },
    /// Another process held the xtables lock all the time that we waited.
    #[error("another process held the xtables lock for {waited_seconds} s")]
    LockHeld {
        /// How long we waited.
        waited_seconds: u32,
    },
    /// The kernel, or the program, refused the input.
    #[error("{program} refused line {line:?}: {message}{}", quoted(.lines))]
    Refused {
        /// Program name.
        program: String,
        /// Line number of the input, where told.
        line: Option<usize>,
        /// The lines around it.
        lines: Vec<String>,
        /// What the program said.
        message: String,
    },
    /// Not root in this network namespace.
    #[error("{program} needs CAP_NET_ADMIN: {message}")]
    NotPermitted {
        /// Program name.
        program: String,
        /// What the program said.
        message: String,
    },
    /// The kernel lacks this table, family or an extension.
    #[error("this node's kernel has no {family:?} {table:?} for iptables {variant}: {message}")]
    Unsupported {
        /// Variant.
        variant: Variant,
        /// Family.
        family: Family,
        /// Table, where known.
        table: Option<Table>,
        /// What the program said.
        message: String,
    },
    /// The program ran longer than it may.
    #[error("{program} did not end within {seconds} s and was stopped")]
    TimedOut {
        /// Program name.
        program: String,
        /// The bound.
        seconds: u64,
    },
    /// Pipes or processes failed.
    #[error("{program}: {operation}")]
    Io {
        /// Program name.
        program: String,
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A listing that could not be understood.
    #[error("cannot read the listing of {program}: {message}")]
    Malformed {
        /// Program name.
        program: String,
        /// What was wrong.
        message: String,
    },
}

fn quoted(lines: &[String]) -> String {
    lines.iter().map(|l| format!("\n  {l}")).collect()
}
