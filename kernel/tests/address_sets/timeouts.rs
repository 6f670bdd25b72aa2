//! How long entries stay.

use sluice_kernel::address_set::{AddressSetError, SetKind};

use super::sample::{entries, header, left, listed, set, timed};
use super::subject::Subject;

pub(crate) fn entries_with_timeouts_go_when_their_time_has_come(subject: &mut dyn Subject) {
    for kind in [SetKind::HashIpPort, SetKind::BitmapPort] {
        let spec = timed(set("timed", kind, 10), 600);
        subject.sets().create(&spec).unwrap();
        let [short, default, stays] = entries(&spec, [1, 2, 3])[..] else {
            unreachable!()
        };
        subject
            .sets()
            .add_with_timeout(&spec, &[(short, 1), (stays, 0)])
            .unwrap();
        subject.sets().add(&spec, &[default]).unwrap();
        let before = subject.list("timed");
        assert_eq!(left(&before, stays), Some(0), "stays");
        assert!(matches!(left(&before, short), Some(1)));
        assert!(matches!(left(&before, default), Some(598..=600)));
        subject.pass(2);
        let mut after = vec![default, stays];
        after.sort_unstable();
        assert_eq!(listed(subject, "timed"), after);
        assert_eq!(header(subject, "timed").spec.timeout_seconds, Some(600));
        subject.sets().destroy("timed").unwrap();
    }
}

pub(crate) fn a_lifetime_is_renewed_by_adding_again(subject: &mut dyn Subject) {
    let spec = timed(set("renewed", SetKind::HashIp, 10), 0);
    subject.sets().create(&spec).unwrap();
    let one = entries(&spec, [1])[0];
    subject.sets().add(&spec, &[one]).unwrap();
    assert_eq!(left(&subject.list("renewed"), one), Some(0));
    for (seconds, expected) in [
        (100, 98..=100),
        (4_000, 3_998..=4_000),
        (u32::MAX, 2_147_481..=2_147_483),
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
