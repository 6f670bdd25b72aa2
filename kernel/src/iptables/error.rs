//! Why an iptables program failed.

use super::{Family, Table, Variant};

/// Errors of [`Iptables`](super::Iptables).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IptablesError {
    /// No such program on this node.
    #[error(
        "{program} is not installed: install the package iptables, or choose the other variant"
    )]
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
    #[error("{program} refused {}: {message}{}", place(*.line), quoted(.lines))]
    Refused {
        /// Program name.
        program: String,
        /// Line number of the input, from 1, where told. What only the kernel found is told at the table's `COMMIT`.
        line: Option<usize>,
        /// The lines around it, each with its number; the line itself is marked with `>`.
        lines: Vec<String>,
        /// What the program said.
        message: String,
    },
    /// Somebody else changed the table since it was listed: another try, by a new listing, may succeed.
    #[error("{program}: the table is not as it was listed, see {}: {message}{}", place(*.line), quoted(.lines))]
    Overtaken {
        /// Program name.
        program: String,
        /// Line number of the input, from 1, where told.
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
    #[error("this node has no {family:?} {} for iptables {variant}: {message}", named(*.table))]
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
    /// Somebody put rules in the table that iptables-nft cannot list, so nothing of the table can be seen.
    #[error(
        "{family:?} table {table} holds objects that iptables cannot list: find them with `nft list ruleset` and take them out"
    )]
    Unlistable {
        /// Family.
        family: Family,
        /// Table.
        table: Table,
    },
    /// The kernel had no memory for the table, or not within the cgroup of this process.
    #[error(
        "{program} got no memory: {message}; raise the memory limit, or free memory on the node"
    )]
    NoMemory {
        /// Program name.
        program: String,
        /// What the program said.
        message: String,
    },
    /// A signal ended the program.
    #[error("{program} was killed by a signal: perhaps memory ran out, see the kernel's log")]
    Killed {
        /// Program name.
        program: String,
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

impl IptablesError {
    /// This node has no such table, family or program, so it holds nothing there.
    pub fn is_lack(&self) -> bool {
        matches!(self, Self::NotInstalled { .. } | Self::Unsupported { .. })
    }
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(|| "the input".to_owned(), |n| format!("line {n}"))
}

fn named(table: Option<Table>) -> String {
    table.map_or_else(|| "table or extension".to_owned(), |t| format!("table {t}"))
}

fn quoted(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["\n  ", line]).collect()
}
