//! What both variants and their twin do alike.

use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, MemoryIptables, Operation, Table, Variant,
};

use crate::namespace::in_new_namespace;
use crate::{FAMILIES, open, rules, usable_variants};

/// Runs `test` on both real variants, each in a namespace of its own, and on their twins.
fn everywhere(test: impl Fn(&mut dyn Iptables) + Sync) {
    for variant in [Variant::Legacy, Variant::Nft] {
        test(&mut MemoryIptables::new(variant));
    }
    for variant in usable_variants() {
        in_new_namespace(|| test(&mut open(variant)));
    }
}

fn has_chain(door: &mut dyn Iptables, table: Table, chain: &str) -> bool {
    door.save(Family::V4, table, &|_| false)
        .expect("a listing")
        .chain(chain)
        .is_some()
}

fn refused(door: &mut dyn Iptables, input: &str) -> Option<usize> {
    match door.restore(Family::V4, input) {
        Err(IptablesError::Refused { line, .. }) => line,
        other => panic!("{} should refuse {input:?}, but: {other:?}", door.variant()),
    }
}

#[test]
fn restored_rules_are_listed_again() {
    everywhere(|door| {
        for family in FAMILIES {
            let input = "*nat\n:SLUICE-A - [0:0]\n:SLUICE-B - [0:0]\n-A SLUICE-A -p tcp -m tcp --dport 80 -j SLUICE-B\n\
                         -A SLUICE-A -j RETURN\n-A OUTPUT -j SLUICE-A\nCOMMIT\n";
            door.restore(family, input).unwrap();
            assert_eq!(
                rules(door, family, Table::Nat, "SLUICE-A"),
                ["-p tcp -m tcp --dport 80 -j SLUICE-B", "-j RETURN"]
            );
            assert_eq!(rules(door, family, Table::Nat, "OUTPUT"), ["-j SLUICE-A"]);
            assert!(rules(door, family, Table::Nat, "SLUICE-B").is_empty());
        }
        assert_eq!(door.programs_started(), 8);
    });
}

#[test]
fn rules_of_chains_that_are_not_kept_are_left_out() {
    everywhere(|door| {
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j RETURN\nCOMMIT\n",
        )
        .unwrap();
        let saved = door
            .save(Family::V4, Table::Nat, &|name| name == "A")
            .unwrap();
        assert_eq!(saved.chain("A").unwrap().rules, ["-j B"]);
        assert!(saved.chain("B").unwrap().rules.is_empty());
    });
}

#[test]
fn a_declared_chain_is_emptied_and_a_built_in_one_keeps_its_rules() {
    everywhere(|door| {
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n-A A -j RETURN\n-A OUTPUT -j A\nCOMMIT\n",
        )
        .unwrap();
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
        )
        .unwrap();
        assert!(rules(door, Family::V4, Table::Nat, "A").is_empty());
        assert_eq!(rules(door, Family::V4, Table::Nat, "OUTPUT"), ["-j A"]);
        door.restore(Family::V4, "*nat\n-A A -j ACCEPT\nCOMMIT\n")
            .unwrap();
        assert_eq!(rules(door, Family::V4, Table::Nat, "A"), ["-j ACCEPT"]);
    });
}

#[test]
fn rules_are_inserted_and_deleted_by_place_and_by_content() {
    everywhere(|door| {
        let mark = |n: u32| format!("-m mark --mark {n:#x} -j RETURN");
        let input = format!(
            "*nat\n:A - [0:0]\n-A A {}\n-A A {}\n-A A {}\nCOMMIT\n",
            mark(1),
            mark(2),
            mark(3)
        );
        door.restore(Family::V4, &input).unwrap();
        door.restore(Family::V4, &format!("*nat\n-I A {}\nCOMMIT\n", mark(4)))
            .unwrap();
        door.restore(Family::V4, &format!("*nat\n-I A 3 {}\nCOMMIT\n", mark(5)))
            .unwrap();
        assert_eq!(
            rules(door, Family::V4, Table::Nat, "A"),
            [4, 1, 5, 2, 3].map(mark)
        );
        door.restore(
            Family::V4,
            &format!("*nat\n-D A 2\n-D A {}\nCOMMIT\n", mark(2)),
        )
        .unwrap();
        assert_eq!(
            rules(door, Family::V4, Table::Nat, "A"),
            [4, 5, 3].map(mark)
        );
        door.restore(Family::V4, "*nat\n-F A\nCOMMIT\n").unwrap();
        assert!(rules(door, Family::V4, Table::Nat, "A").is_empty());
    });
}

#[test]
fn chains_are_deleted_when_nothing_goes_to_them() {
    everywhere(|door| {
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A OUTPUT -j A\nCOMMIT\n",
        )
        .unwrap();
        assert!(refused(door, "*nat\n:B - [0:0]\n-X B\nCOMMIT\n").is_some());
        assert!(
            refused(door, "*nat\n-X A\nCOMMIT\n").is_some(),
            "it has rules"
        );
        assert!(refused(door, "*nat\n-X NONE\nCOMMIT\n").is_some());
        assert!(has_chain(door, Table::Nat, "B"));
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n:B - [0:0]\n-D OUTPUT -j A\n-X A\n-X B\nCOMMIT\n",
        )
        .unwrap();
        assert!(!has_chain(door, Table::Nat, "A") && !has_chain(door, Table::Nat, "B"));
    });
}

#[test]
fn what_cannot_be_is_refused_and_leaves_the_table_as_it_was() {
    everywhere(|door| {
        door.restore(
            Family::V4,
            "*nat\n:A - [0:0]\n-A A -j RETURN\n-A OUTPUT -j A\nCOMMIT\n",
        )
        .unwrap();
        for (what, line) in [
            ("-A A -j NO-SUCH-CHAIN", None),
            ("-A A -g NO-SUCH-CHAIN", None),
            ("-A NO-SUCH-CHAIN -j ACCEPT", Some(3)),
            ("-I A 9 -j ACCEPT", Some(3)),
            ("-F NO-SUCH-CHAIN", Some(3)),
            ("-N A", Some(3)),
            ("-A A -j POSTROUTING", None),
            (":A-NAME-OF-TWENTY-NINE-LETTERS - [0:0]", Some(3)),
            ("nonsense", Some(3)),
        ] {
            let at = refused(door, &format!("*nat\n-A A -j ACCEPT\n{what}\nCOMMIT\n"));
            assert!(
                at.is_some_and(|at| line.is_none_or(|line| line == at)),
                "{}: {what}: line {at:?}",
                door.variant()
            );
            assert_eq!(
                rules(door, Family::V4, Table::Nat, "A"),
                ["-j RETURN"],
                "{}: after {what}",
                door.variant()
            );
        }
        assert!(
            refused(door, "*nat\n-A A -j ACCEPT\n").is_some(),
            "no COMMIT"
        );
        assert!(refused(door, "-A A -j ACCEPT\n").is_some(), "no table");
    });
}

#[test]
fn a_rule_to_be_deleted_that_is_not_there_was_taken_by_somebody_else() {
    everywhere(|door| {
        let there = "*nat\n:A - [0:0]\n-A A -j RETURN\nCOMMIT\n";
        door.restore(Family::V4, there).unwrap();
        for what in ["-D A -p tcp -j ACCEPT", "-D A 9", "-D PREROUTING -j A"] {
            let input = format!("*nat\n-A A -j ACCEPT\n{what}\nCOMMIT\n");
            let error = door.restore(Family::V4, &input).unwrap_err();
            let at = match error {
                IptablesError::Overtaken { line, .. } => line,
                other => panic!("{}: {what}: {other:?}", door.variant()),
            };
            assert_eq!(at, Some(3), "{}: {what}", door.variant());
            let left = rules(door, Family::V4, Table::Nat, "A");
            assert_eq!(left, ["-j RETURN"], "{}: {what}", door.variant());
        }
    });
}

#[test]
fn chains_that_go_in_circles_are_refused() {
    everywhere(|door| {
        refused(
            door,
            "*nat\n:A - [0:0]\n:B - [0:0]\n-A OUTPUT -p tcp -j A\n-A A -p tcp -j B\n-A B -p tcp -j A\nCOMMIT\n",
        );
        assert!(!has_chain(door, Table::Nat, "A"));
    });
}

#[test]
fn tables_before_the_refused_one_are_committed() {
    everywhere(|door| {
        refused(
            door,
            "*mangle\n:A - [0:0]\nCOMMIT\n*nat\n:B - [0:0]\n-A B -j NONE\nCOMMIT\n*filter\n:C - [0:0]\nCOMMIT\n",
        );
        assert!(has_chain(door, Table::Mangle, "A"));
        assert!(!has_chain(door, Table::Nat, "B"));
        assert!(!has_chain(door, Table::Filter, "C"));
    });
}

#[test]
fn planned_failures_come_when_they_are_due() {
    let twin = MemoryIptables::new(Variant::Nft);
    let mut door = twin.clone();
    let held = || IptablesError::LockHeld { waited_seconds: 5 };
    twin.fail_after(Operation::Restore, 1, 1, held());
    let input = "*mangle\n:A - [0:0]\nCOMMIT\n*nat\n:B - [0:0]\nCOMMIT\n";
    door.restore(Family::V6, "*nat\n:C - [0:0]\nCOMMIT\n")
        .unwrap();
    assert!(matches!(
        door.restore(Family::V6, input),
        Err(IptablesError::LockHeld { .. })
    ));
    assert_eq!(
        twin.rules(Family::V6, Table::Mangle, "A"),
        Some(vec![]),
        "committed before the failure"
    );
    assert_eq!(twin.rules(Family::V6, Table::Nat, "B"), None);
    door.restore(Family::V6, input).unwrap();
    twin.fail_next(Operation::List, held());
    assert!(door.save(Family::V6, Table::Nat, &|_| true).is_err());
    assert_eq!(
        door.save(Family::V6, Table::Nat, &|_| true)
            .unwrap()
            .chains
            .len(),
        6
    );
    assert_eq!((twin.take_calls().len(), door.programs_started()), (5, 5));
}
