//! What the kernel's error codes mean.

use super::super::{AddressSetError, Entry, SetKind};
use super::kind;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENOMEM: i32 = 12;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;

// `enum ipset_errno`, linux/netfilter/ipset/ip_set.h
const PROTOCOL: i32 = 4097;
const FIND_TYPE: i32 = 4098;
const MAX_SETS: i32 = 4099;
const BUSY: i32 = 4100;
const SECOND_SET: i32 = 4101;
const TYPE_MISMATCH: i32 = 4102;
const INVALID_CIDR: i32 = 4104;
const INVALID_FAMILY: i32 = 4106;
const TIMEOUT: i32 = 4107;
const SKBINFO: i32 = 4114;
const REFERENCED: i32 = 4108;
const ADDRESS_V4: i32 = 4109;
const ADDRESS_V6: i32 = 4110;

// linux/netfilter/ipset/ip_set_hash.h; ip_set_bitmap.h gives the first another meaning
const HASH_FULL: i32 = 4352;
const BITMAP_RANGE: i32 = 4352;
const NULL_ELEMENT: i32 = 4353;
const INVALID_PROTOCOL: i32 = 4354;
const MISSING_PROTOCOL: i32 = 4355;

/// A request that the kernel refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) operation: &'static str,
    pub(super) set: &'a str,
    /// The other set of a swap.
    pub(super) second_set: Option<&'a str>,
    pub(super) kind: Option<SetKind>,
    pub(super) entry: Option<Entry>,
    /// Positive errno or `IPSET_ERR_*`.
    pub(super) code: i32,
}

impl From<Refusal<'_>> for AddressSetError {
    fn from(refusal: Refusal<'_>) -> Self {
        let name = refusal.set.to_owned();
        let mismatch = |why: &str| Self::Mismatch {
            name: refusal.set.to_owned(),
            what: match refusal.entry {
                Some(entry) => format!("{entry:?}: {why}"),
                None => why.to_owned(),
            },
        };
        match refusal.code {
            EPERM => Self::NotPermitted,
            ENOENT => Self::NotFound { name },
            SECOND_SET => Self::NotFound {
                name: refusal.second_set.unwrap_or_default().to_owned(),
            },
            EEXIST => Self::Exists { name },
            ENOMEM => Self::NoMemory { name },
            MAX_SETS => Self::TooMany { name },
            EBUSY | BUSY | REFERENCED => Self::InUse { name },
            FIND_TYPE => Self::NoSuchKind {
                kind: refusal
                    .kind
                    .map(|kind| kind.to_string())
                    .unwrap_or_default(),
                module: refusal.kind.map(kind::module).unwrap_or_default(),
            },
            BITMAP_RANGE if refusal.kind == Some(SetKind::BitmapPort) => {
                mismatch("the set does not reach to this port")
            }
            HASH_FULL => Self::Full {
                name,
                entry: refusal.entry,
            },
            PROTOCOL => mismatch("the set in the kernel is of another kind or family"),
            TYPE_MISMATCH => mismatch("the two sets are of different kinds or families"),
            INVALID_CIDR => mismatch("the kernel does not take this prefix length"),
            TIMEOUT => mismatch("the set was created without timeouts"),
            SKBINFO => mismatch("the set was created without marks"),
            INVALID_FAMILY | ADDRESS_V4 | ADDRESS_V6 => mismatch("the set is of another family"),
            NULL_ELEMENT => mismatch("the kernel does not take this entry"),
            INVALID_PROTOCOL | MISSING_PROTOCOL => {
                mismatch("the kernel does not take this protocol")
            }
            code => Self::Kernel {
                name,
                operation: refusal.operation,
                code,
                entry: refusal.entry,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_for_a_set_is_told_in_words() {
        for (code, words) in [(4099, "no more sets"), (12, "no memory")] {
            let refusal = Refusal {
                operation: "create",
                set: "SLUICE-4-A-X",
                second_set: None,
                kind: Some(SetKind::HashIp),
                entry: None,
                code,
            };
            let told = AddressSetError::from(refusal).to_string();
            assert!(
                told.contains("SLUICE-4-A-X") && told.contains(words),
                "{told}"
            );
        }
    }
}
