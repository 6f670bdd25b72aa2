//! Marks that entries carry.

use sluice_kernel::address_set::{AddressSetError, Entry, Mark, SetKind};

use super::sample::{entries, header, marked, set, timed, v6};
use super::subject::Subject;

const WHOLE: Mark = Mark {
    value: 0x5c00_0001,
    mask: u32::MAX,
};

fn mark(subject: &mut dyn Subject, name: &str, entry: Entry) -> Option<Mark> {
    let listing = subject.list(name);
    let listed = listing.iter().find(|listed| listed.entry == entry);
    listed.unwrap().mark
}

pub(crate) fn entries_carry_marks(subject: &mut dyn Subject) {
    let some = Mark {
        value: 0x4000,
        mask: 0x4000,
    };
    for kind in SetKind::ALL {
        for spec in [set("marked", kind, 100), timed(set("marked", kind, 100), 0)] {
            for spec in [spec.clone(), v6(spec)] {
                let spec = marked(spec);
                subject.sets().create(&spec).unwrap();
                let [one, other, plain] = entries(&spec, [1, 2, 3])[..] else {
                    unreachable!()
                };
                subject
                    .sets()
                    .add_marked(&spec, &[(one, WHOLE), (other, some)])
                    .unwrap();
                subject.sets().add(&spec, &[plain]).unwrap();
                assert_eq!(mark(subject, "marked", one), Some(WHOLE), "{spec:?}");
                assert_eq!(mark(subject, "marked", other), Some(some), "{spec:?}");
                assert_eq!(mark(subject, "marked", plain), None, "{spec:?}");
                subject.sets().destroy("marked").unwrap();
            }
        }
    }
}

pub(crate) fn a_mark_is_renewed_by_adding_again(subject: &mut dyn Subject) {
    let spec = marked(set("renewed", SetKind::HashIpPort, 10));
    subject.sets().create(&spec).unwrap();
    let one = entries(&spec, [1])[0];
    let cleared = Mark { value: 0, mask: 0 };
    let clearing = Mark {
        value: 0,
        mask: u32::MAX,
    };
    for (given, kept) in [
        (WHOLE, Some(WHOLE)),
        (clearing, Some(clearing)),
        (cleared, None),
        (WHOLE, Some(WHOLE)),
    ] {
        subject.sets().add_marked(&spec, &[(one, given)]).unwrap();
        assert_eq!(mark(subject, "renewed", one), kept);
    }
    subject.sets().add(&spec, &[one]).unwrap();
    assert_eq!(mark(subject, "renewed", one), None);
    assert_eq!(header(subject, "renewed").entries, 1);
    subject.sets().delete(&spec, &[one]).unwrap();
    assert_eq!(subject.list("renewed"), []);
}

pub(crate) fn a_set_without_marks_takes_none(subject: &mut dyn Subject) {
    let spec = set("unmarked", SetKind::HashIpPort, 10);
    subject.sets().create(&spec).unwrap();
    let one = entries(&spec, [1])[0];
    let refused = subject.sets().add_marked(&spec, &[(one, WHOLE)]);
    let said = refused.unwrap_err();
    assert!(matches!(said, AddressSetError::Mismatch { .. }), "{said}");
    assert!(said.to_string().contains("created without marks"), "{said}");
    assert_eq!(subject.list("unmarked"), []);
}

pub(crate) fn a_set_with_marks_is_told_and_swapped_as_such(subject: &mut dyn Subject) {
    let with = marked(set("with", SetKind::HashIpPort, 100));
    let without = set("without", SetKind::HashIpPort, 100);
    for spec in [&with, &without] {
        subject.sets().create(spec).unwrap();
    }
    let one = entries(&with, [1])[0];
    subject.sets().add_marked(&with, &[(one, WHOLE)]).unwrap();
    assert!(header(subject, "with").spec.marks);
    assert!(!header(subject, "without").spec.marks);
    subject.sets().swap("with", "without").unwrap();
    assert!(!header(subject, "with").spec.marks);
    assert!(header(subject, "without").spec.marks);
    assert_eq!(mark(subject, "without", one), Some(WHOLE));
}
