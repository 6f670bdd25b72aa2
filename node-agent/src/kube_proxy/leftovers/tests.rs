//! Kernels that lack something.

use sluice_kernel::iptables::{MemoryIptables, Operation};

use super::*;

/// What finding rules says where the first listing fails.
fn errors_where_listing_fails(error: IptablesError) -> Vec<LeftoversError> {
    let mut door = MemoryIptables::new(Variant::Legacy);
    door.fail_next(Operation::List, error);
    let mut errors = Vec::new();
    let mut found = Leftovers::default();
    found.find_rules_behind(&mut door, &[Family::V4, Family::V6], &mut errors);
    errors
}

#[test]
fn a_table_that_the_kernel_lacks_holds_nothing_and_others_that_cannot_be_listed_are_told() {
    let lack = errors_where_listing_fails(IptablesError::Unsupported {
        variant: Variant::Legacy,
        family: Family::V6,
        table: Some(Table::Nat),
        message: "Table does not exist".into(),
    });
    assert!(lack.is_empty(), "{lack:?}");
    let held = errors_where_listing_fails(IptablesError::LockHeld { waited_seconds: 10 });
    assert_eq!(held.len(), 1, "{held:?}");
}
