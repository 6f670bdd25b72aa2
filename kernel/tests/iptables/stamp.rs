//! The stamp of the rule set against the kernel.

use sluice_kernel::iptables::{Family, Iptables, Table, Variant};

use crate::namespace::{in_new_namespace, sh};
use crate::{open, usable_variants};

const TWO_TABLES: &str =
    "*filter\n:SLUICE-A - [0:0]\nCOMMIT\n*nat\n:SLUICE-A - [0:0]\n-A OUTPUT -j SLUICE-A\nCOMMIT\n";

#[test]
fn each_table_of_a_restore_is_one_transaction_and_a_listing_is_none() {
    if !usable_variants().contains(&Variant::Nft) {
        return;
    }
    in_new_namespace(|| {
        let mut door = open(Variant::Nft);
        for family in [Family::V4, Family::V6] {
            let before = door.stamp().expect("a stamp");
            assert_eq!(door.stamp().as_ref(), Some(&before));
            door.restore(family, TWO_TABLES).expect("restored");
            let after = door.stamp().expect("a stamp");
            assert!(after.is_after(&before, 2), "{before} -> {after}");
            door.list(family, Table::Nat, &mut |_| {})
                .expect("a listing");
            assert_eq!(door.stamp(), Some(after));
        }
    });
}

#[test]
fn a_commit_of_anybody_changes_the_stamp() {
    if !usable_variants().contains(&Variant::Nft) {
        return;
    }
    in_new_namespace(|| {
        let mut door = open(Variant::Nft);
        door.restore(Family::V4, TWO_TABLES).expect("restored");
        for command in [
            "nft add table inet somebody",
            "iptables-nft -t nat -D OUTPUT -j SLUICE-A",
            "nft add rule ip nat SLUICE-A accept",
        ] {
            let before = door.stamp().expect("a stamp");
            sh(command);
            assert_ne!(door.stamp(), Some(before), "{command}");
        }
    });
}

#[test]
fn the_legacy_variant_has_no_stamp() {
    if usable_variants().contains(&Variant::Legacy) {
        in_new_namespace(|| assert_eq!(open(Variant::Legacy).stamp(), None));
    }
}
