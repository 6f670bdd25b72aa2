//! How sets are made, named, told, swapped and destroyed.

use sluice_kernel::address_set::{AddressSetError, SetHeader, SetKind, SetSpec};

use super::sample::{entries, header, listed, names, set, timed, v6};
use super::subject::Subject;

pub(crate) fn a_name_is_taken_once(subject: &mut dyn Subject) {
    let spec = set("taken", SetKind::HashIp, 10);
    subject.sets().create(&spec).unwrap();
    for again in [
        spec.clone(),
        set("taken", SetKind::BitmapPort, 10),
        v6(spec),
    ] {
        let refused = subject.sets().create(&again);
        assert!(matches!(refused, Err(AddressSetError::Exists { ref name }) if name == "taken"));
    }
}

pub(crate) fn a_missing_set_is_not_found(subject: &mut dyn Subject) {
    let spec = set("missing", SetKind::HashIp, 10);
    let there = set("there", SetKind::HashIp, 10);
    subject.sets().create(&there).unwrap();
    let some = entries(&spec, [1]);
    let sets = subject.sets();
    for (operation, refused) in [
        ("destroy", sets.destroy("missing")),
        ("add", sets.add(&spec, &some)),
        ("delete", sets.delete(&spec, &some)),
        ("swap first", sets.swap("missing", "there")),
        ("swap second", sets.swap("there", "missing")),
        ("list", sets.list("missing").map(drop)),
    ] {
        let as_told =
            matches!(&refused, Err(AddressSetError::NotFound { name }) if name == "missing");
        assert!(as_told, "{operation}: {refused:?}");
    }
    assert_eq!(sets.headers("missing").unwrap(), []);
}

pub(crate) fn a_name_that_is_too_long_is_refused(subject: &mut dyn Subject) {
    let longest = set(&"x".repeat(31), SetKind::HashIp, 10);
    subject.sets().create(&longest).unwrap();
    assert_eq!(names(subject.sets()), [longest.name]);
    for name in ["", &"x".repeat(32)] {
        let refused = subject.sets().create(&set(name, SetKind::HashIp, 10));
        assert!(
            matches!(refused, Err(AddressSetError::Mismatch { .. })),
            "{refused:?}"
        );
    }
}

pub(crate) fn swapped_sets_have_each_others_contents_and_limits(subject: &mut dyn Subject) {
    let one = set("one", SetKind::HashIp, 100);
    let other = timed(set("other", SetKind::HashIp, 1_000), 0);
    for spec in [&one, &other] {
        subject.sets().create(spec).unwrap();
    }
    subject.sets().add(&one, &entries(&one, [1])).unwrap();
    subject
        .sets()
        .add(&other, &entries(&other, [2, 3]))
        .unwrap();
    subject.sets().swap("one", "other").unwrap();
    assert_eq!(listed(subject, "one"), entries(&other, [2, 3]));
    assert_eq!(listed(subject, "other"), entries(&one, [1]));
    let swapped = header(subject, "one").spec;
    assert_eq!(
        (swapped.max_entries, swapped.timeout_seconds),
        (1_000, Some(0))
    );
    subject.sets().swap("one", "one").unwrap();
    assert_eq!(listed(subject, "one").len(), 2);
}

pub(crate) fn sets_of_different_kinds_or_families_are_not_swapped(subject: &mut dyn Subject) {
    for kind in SetKind::ALL {
        subject
            .sets()
            .create(&set(&kind.to_string(), kind, 10))
            .unwrap();
    }
    subject
        .sets()
        .create(&v6(set("six", SetKind::HashIp, 10)))
        .unwrap();
    let of_kinds = SetKind::ALL
        .iter()
        .flat_map(|one| SetKind::ALL.iter().map(move |other| (one, other)));
    let mut pairs: Vec<_> = of_kinds
        .filter(|(one, other)| one != other)
        .map(|(one, other)| (one.to_string(), other.to_string()))
        .collect();
    pairs.push((SetKind::HashIp.to_string(), "six".to_owned()));
    for (one, other) in pairs {
        let refused = subject.sets().swap(&one, &other);
        assert!(
            matches!(refused, Err(AddressSetError::Mismatch { .. })),
            "{one} {other} {refused:?}"
        );
    }
}

pub(crate) fn a_set_in_use_is_swapped_but_not_destroyed(subject: &mut dyn Subject) {
    let (used, fresh) = (
        set("used", SetKind::HashIp, 10),
        set("fresh", SetKind::HashIp, 10),
    );
    for spec in [&used, &fresh] {
        subject.sets().create(spec).unwrap();
    }
    subject.refer("used");
    assert_eq!(header(subject, "used").references, 1);
    let refused = subject.sets().destroy("used");
    assert!(matches!(refused, Err(AddressSetError::InUse { ref name }) if name == "used"));
    subject.sets().add(&fresh, &entries(&fresh, [7])).unwrap();
    subject.sets().swap("used", "fresh").unwrap();
    assert_eq!(listed(subject, "used"), entries(&fresh, [7]));
    assert_eq!(
        (
            header(subject, "used").references,
            header(subject, "fresh").references
        ),
        (1, 0)
    );
    subject.sets().destroy("fresh").unwrap();
    subject.release("used");
    subject.sets().destroy("used").unwrap();
}

pub(crate) fn headers_tell_how_a_set_was_created_and_what_it_holds(subject: &mut dyn Subject) {
    let hash = SetSpec {
        max_entries: 70_000,
        expected_entries: 1_500,
        ..timed(v6(set("hash", SetKind::HashIpPortIp, 0)), 30)
    };
    let ports = set("ports", SetKind::BitmapPort, 1);
    for spec in [&hash, &ports] {
        subject.sets().create(spec).unwrap();
    }
    subject.sets().add(&hash, &entries(&hash, 1..=20)).unwrap();
    subject
        .sets()
        .add(&ports, &entries(&ports, 30_000..32_767))
        .unwrap();
    let kept = SetHeader {
        spec: SetSpec {
            expected_entries: 2_048,
            ..hash
        },
        entries: 20,
        references: 0,
    };
    assert_eq!(header(subject, "hash"), kept);
    let kept = SetHeader {
        spec: SetSpec {
            expected_entries: 65_536,
            max_entries: 65_536,
            ..ports
        },
        entries: 2_767,
        references: 0,
    };
    assert_eq!(header(subject, "ports"), kept);
}

pub(crate) fn headers_are_those_of_the_prefix(subject: &mut dyn Subject) {
    for name in ["ours-a", "ours-b", "theirs", "our"] {
        subject
            .sets()
            .create(&set(name, SetKind::HashIp, 10))
            .unwrap();
    }
    let mut found: Vec<_> = subject
        .sets()
        .headers("ours-")
        .unwrap()
        .into_iter()
        .map(|header| header.spec.name)
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["ours-a", "ours-b"]);
}
