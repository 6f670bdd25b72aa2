//! Why an address-set request failed.

use super::Entry;

/// Errors of [`AddressSets`](super::AddressSets).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressSetError {
    /// `ENOENT`, or the codes of `ip_set.h` that mean "no such set".
    #[error("address set {name} does not exist")]
    NotFound {
        /// The set.
        name: String,
    },
    /// The name is taken (`EEXIST`).
    #[error("address set {name} exists already")]
    Exists {
        /// The set.
        name: String,
    },
    /// A rule, another set or a listing still refers to it (`IPSET_ERR_REFERENCED`, `IPSET_ERR_BUSY`, `EBUSY`).
    #[error("address set {name} is in use by a rule: delete the rule first")]
    InUse {
        /// The set.
        name: String,
    },
    /// The set holds as many entries as it was created for (`IPSET_ERR_HASH_FULL`).
    #[error("address set {name} is full, at entry {entry:?}")]
    Full {
        /// The set.
        name: String,
        /// The entry that did not fit.
        entry: Option<Entry>,
    },
    /// As many sets as the kernel takes in one network namespace, some 65,000 (`IPSET_ERR_MAX_SETS`).
    #[error(
        "address set {name} cannot be made: the kernel takes no more sets in this network namespace; delete some"
    )]
    TooMany {
        /// The set.
        name: String,
    },
    /// The kernel has no memory for the set, or for what shall come into it (`ENOMEM`).
    #[error("the kernel has no memory for address set {name}")]
    NoMemory {
        /// The set.
        name: String,
    },
    /// The kernel has no such set type, or not in a revision that we speak (`IPSET_ERR_FIND_TYPE`).
    #[error(
        "the kernel has no set type {kind}: load the module ip_set_{module} or use a kernel that has it"
    )]
    NoSuchKind {
        /// Type name.
        kind: String,
        /// Module name's ending.
        module: String,
    },
    /// The kernel has no ipset at all.
    #[error("the kernel has no ipset: load the module ip_set or use a kernel that has it")]
    Unsupported,
    /// Not root in this network namespace (`EPERM`).
    #[error("address sets need CAP_NET_ADMIN")]
    NotPermitted,
    /// The entry is not of the set's kind or family, the two sets of a swap differ in that, or the name is too long.
    #[error("address set {name}: {what}")]
    Mismatch {
        /// The set.
        name: String,
        /// What was wrong.
        what: String,
    },
    /// Any other answer of the kernel.
    #[error("address set {name}: {operation}: kernel error {code}{}", entry.map(|e| format!(" at {e:?}")).unwrap_or_default())]
    Kernel {
        /// The set.
        name: String,
        /// What was asked.
        operation: &'static str,
        /// Positive errno, or an `IPSET_ERR_*` code (4096 and above).
        code: i32,
        /// The entry that was refused, where known.
        entry: Option<Entry>,
    },
    /// The netlink socket failed.
    #[error("netlink: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// An answer that could not be understood.
    #[error("unexpected netlink answer: {0}")]
    Malformed(String),
}
