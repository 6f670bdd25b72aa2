//! How long entries stay.

use sluice_kernel::address_set::{AddressSetError, SetKind};

use super::sample::{entries, header, left, listed, set, timed};
use super::subject::Subject;

pub(crate) fn entries_with_timeouts_go_when_their_time_has_come(subject: &mut dyn Subject) {
    let specs = [
        ("hash", SetKind::HashIpPort),
        ("bitmap", SetKind::BitmapPort),
    ]
    .map(|(name, kind)| timed(set(name, kind, 10), 600));
    for spec in &specs {
        subject.sets().create(spec).unwrap();
        let [short, default, stays] = entries(spec, [1, 2, 3])[..] else {
            unreachable!()
        };
        subject
            .sets()
            .add_with_timeout(spec, &[(short, 4), (stays, 0)])
            .unwrap();
        subject.sets().add(spec, &[default]).unwrap();
        let before = subject.list(&spec.name);
        assert_eq!(left(&before, stays), Some(0), "stays");
        assert!(matches!(left(&before, short), Some(1..=4)));
        assert!(matches!(left(&before, default), Some(540..=600)));
    }
    subject.pass(5);
    for spec in &specs {
        let mut after = entries(spec, [2, 3]);
        after.sort_unstable();
        assert_eq!(listed(subject, &spec.name), after);
        let seconds = header(subject, &spec.name).spec.timeout_seconds;
        assert_eq!(seconds, Some(600));
        subject.sets().destroy(&spec.name).unwrap();
    }
}

pub(crate) fn a_lifetime_is_renewed_by_adding_again(subject: &mut dyn Subject) {
    let spec = timed(set("renewed", SetKind::HashIp, 10), 0);
    subject.sets().create(&spec).unwrap();
    let one = entries(&spec, [1])[0];
    subject.sets().add(&spec, &[one]).unwrap();
    assert_eq!(left(&subject.list("renewed"), one), Some(0));
    for (seconds, expected) in [
        (100, 40..=100),
        (4_000, 3_940..=4_000),
        (u32::MAX, 2_147_423..=2_147_483),
    ] {
        subject
            .sets()
            .add_with_timeout(&spec, &[(one, seconds)])
            .unwrap();
        let left = left(&subject.list("renewed"), one).unwrap();
        assert!(expected.contains(&left), "{left} of {seconds}");
    }
    subject.sets().add(&spec, &[one]).unwrap();
    assert_eq!(left(&subject.list("renewed"), one), Some(0));
}

pub(crate) fn a_set_without_timeouts_takes_no_lifetime(subject: &mut dyn Subject) {
    let spec = set("untimed", SetKind::HashIp, 10);
    subject.sets().create(&spec).unwrap();
    let refused = subject
        .sets()
        .add_with_timeout(&spec, &[(entries(&spec, [1])[0], 5)]);
    assert!(
        matches!(refused, Err(AddressSetError::Mismatch { .. })),
        "{refused:?}"
    );
    assert_eq!(subject.list("untimed"), []);
}
