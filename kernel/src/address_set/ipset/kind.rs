//! What the kernel calls the kinds of sets.

use super::super::{Family, SetKind};
use crate::netlink::{NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_UNSPEC};

/// The kind of a set type, if it is one that is spoken here.
pub(super) fn named(type_name: &str) -> Option<SetKind> {
    SetKind::ALL
        .into_iter()
        .find(|kind| kind.to_string() == type_name)
}

/// The kernel module of a set type, after `ip_set_`.
pub(super) fn module(kind: SetKind) -> String {
    kind.to_string().replace(',', "").replace(':', "_")
}

/// The newest revision of the set type whose meaning is known here (Linux 6.18); later ones may read the same attributes
/// in another way.
pub(super) fn newest_revision(kind: SetKind) -> u8 {
    match kind {
        SetKind::BitmapPort => 3,
        SetKind::HashIp | SetKind::HashIpPortIp => 6,
        SetKind::HashNet | SetKind::HashIpPort => 7,
        SetKind::HashNetPort | SetKind::HashIpPortNet => 8,
    }
}

/// `NFPROTO_*` of a set.
pub(super) fn protocol_family(kind: SetKind, family: Family) -> u8 {
    match (kind, family) {
        (SetKind::BitmapPort, _) => NFPROTO_UNSPEC,
        (_, Family::V4) => NFPROTO_IPV4,
        (_, Family::V6) => NFPROTO_IPV6,
    }
}

#[cfg(test)]
mod tests {
    use super::{module, named};
    use crate::address_set::SetKind;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in SetKind::ALL {
            assert_eq!(named(&kind.to_string()), Some(kind));
        }
        assert_eq!(named("list:set"), None);
    }

    #[test]
    fn modules_are_named_as_the_kernel_builds_them() {
        assert_eq!(module(SetKind::HashIpPortNet), "hash_ipportnet");
        assert_eq!(module(SetKind::BitmapPort), "bitmap_port");
    }
}
