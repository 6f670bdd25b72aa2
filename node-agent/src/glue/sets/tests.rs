//! What is known of sets after a step.

use sluice_kernel::address_set::MemorySets;

use super::*;

#[test]
fn rules_that_go_are_missed_also_after_a_step_that_staged_all_and_wrote_no_rule() {
    let kernel = MemorySets::default();
    let mut sets = GlueSets::new(Box::new(kernel.clone()), &[Family::V4]);
    let own = SetId {
        role: Role::OwnIp,
        family: Family::V4,
    };
    let step = |sets: &mut GlueSets, address: [u8; 4]| {
        let member = (own, Entry::Ip(address.into()));
        sets.stage_all([member].into_iter(), std::iter::empty())
            .unwrap();
        sets.write_additions().unwrap();
        sets.write_deletions().unwrap();
    };
    step(&mut sets, [192, 0, 2, 1]);
    kernel.set_references(&own.name(), 3);
    sets.note_references().unwrap();
    step(&mut sets, [192, 0, 2, 2]);
    assert_eq!(sets.check().unwrap(), []);
    kernel.set_references(&own.name(), 0);
    let drifts = sets.check().unwrap();
    assert_eq!(drifts.len(), 1, "{drifts:?}");
    assert_eq!(drifts[0].what, "is used by 0 rules instead of 3");
}
