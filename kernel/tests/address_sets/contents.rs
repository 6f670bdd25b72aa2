//! What sets hold.

use sluice_kernel::address_set::{AddressSetError, Entry, Family, IpProtocol, SetKind, SetSpec};

use super::sample::{entries, entry, header, listed, names, set, v6};
use super::subject::Subject;

pub(crate) fn a_set_of_every_kind_and_family_holds_what_was_added(subject: &mut dyn Subject) {
    for kind in SetKind::ALL {
        for family in [Family::V4, Family::V6] {
            let name = format!("{kind}-{family:?}").replace([':', ','], "-");
            let spec = SetSpec {
                family,
                ..set(&name, kind, 1_000)
            };
            subject.sets().create(&spec).unwrap();
            let mut wanted = entries(&spec, [1, 2, 3, 1000, 65_535]);
            subject.sets().add(&spec, &wanted).unwrap();
            wanted.sort_unstable();
            assert_eq!(listed(subject, &name), wanted, "{kind} {family:?}");
            subject.sets().delete(&spec, &wanted[1..]).unwrap();
            assert_eq!(listed(subject, &name), wanted[..1], "{kind} {family:?}");
            subject.sets().destroy(&name).unwrap();
        }
    }
    assert_eq!(names(subject.sets()), [""; 0]);
}

pub(crate) fn an_entry_added_twice_is_there_once(subject: &mut dyn Subject) {
    let spec = set("twice", SetKind::HashIpPort, 10);
    subject.sets().create(&spec).unwrap();
    subject
        .sets()
        .add(&spec, &entries(&spec, [1, 1, 2]))
        .unwrap();
    subject.sets().add(&spec, &entries(&spec, [2, 3])).unwrap();
    assert_eq!(listed(subject, "twice").len(), 3);
    assert_eq!(header(subject, "twice").entries, 3);
}

pub(crate) fn an_absent_entry_in_a_batch_to_delete_does_not_keep_the_others(
    subject: &mut dyn Subject,
) {
    let spec = set("delete", SetKind::HashIpPortNet, 10);
    subject.sets().create(&spec).unwrap();
    subject
        .sets()
        .add(&spec, &entries(&spec, [1, 2, 3]))
        .unwrap();
    subject
        .sets()
        .delete(&spec, &entries(&spec, [9, 1, 8, 3, 3]))
        .unwrap();
    assert_eq!(listed(subject, "delete"), entries(&spec, [2]));
}

pub(crate) fn an_entry_of_another_kind_or_family_is_refused_and_nothing_is_added(
    subject: &mut dyn Subject,
) {
    let spec = set("kind", SetKind::HashNet, 10);
    subject.sets().create(&spec).unwrap();
    let other_family = entry(SetKind::HashNet, Family::V6, 1);
    let other_kind = entry(SetKind::HashIp, Family::V4, 1);
    let everything = Entry::Net("0.0.0.0/0".parse().unwrap());
    for wrong in [other_family, other_kind, everything] {
        let refused = subject
            .sets()
            .add(&spec, &[entry(spec.kind, spec.family, 1), wrong]);
        let said = refused.unwrap_err();
        assert!(matches!(said, AddressSetError::Mismatch { .. }), "{said}");
        assert!(said.to_string().contains(&format!("{wrong:?}")), "{said}");
    }
    assert_eq!(listed(subject, "kind"), []);
}

pub(crate) fn a_full_set_names_the_entry_that_did_not_fit(subject: &mut dyn Subject) {
    let spec = v6(set("full", SetKind::HashIpPort, 64));
    subject.sets().create(&spec).unwrap();
    let refused = subject.sets().add(&spec, &entries(&spec, 1..=200));
    let Err(AddressSetError::Full {
        name,
        entry: Some(entry),
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((name.as_str(), entry), ("full", entries(&spec, [65])[0]));
    assert_eq!(listed(subject, "full").len(), 64);
}

pub(crate) fn an_entry_that_is_there_is_taken_by_a_full_set(subject: &mut dyn Subject) {
    let spec = set("full", SetKind::HashNet, 64);
    subject.sets().create(&spec).unwrap();
    subject.sets().add(&spec, &entries(&spec, 1..=64)).unwrap();
    subject.sets().add(&spec, &entries(&spec, 1..=64)).unwrap();
    subject.sets().delete(&spec, &entries(&spec, [64])).unwrap();
    subject.sets().add(&spec, &entries(&spec, [70])).unwrap();
    assert_eq!(header(subject, "full").entries, 64);
}

pub(crate) fn a_network_is_kept_without_its_host_bits(subject: &mut dyn Subject) {
    let spec = set("nets", SetKind::HashNet, 10);
    subject.sets().create(&spec).unwrap();
    let given = Entry::Net("10.1.2.3/8".parse().unwrap());
    subject
        .sets()
        .add(
            &spec,
            &[given, Entry::Net("192.168.0.1/32".parse().unwrap())],
        )
        .unwrap();
    let kept = ["10.0.0.0/8", "192.168.0.1/32"].map(|net| Entry::Net(net.parse().unwrap()));
    assert_eq!(listed(subject, "nets"), kept);
    assert_eq!(given.canonical(), kept[0]);
    subject.sets().delete(&spec, &[given]).unwrap();
    assert_eq!(listed(subject, "nets"), kept[1..]);
}

pub(crate) fn a_large_set_is_filled_listed_and_emptied(subject: &mut dyn Subject) {
    let spec = v6(set("large", SetKind::HashIpPortNet, 80_000));
    subject.sets().create(&spec).unwrap();
    let first = entries(&spec, 1..=u16::MAX);
    let second: Vec<_> = first
        .iter()
        .take(10_000)
        .map(|entry| match *entry {
            Entry::IpPortNet(ip, _, port, net) => Entry::IpPortNet(ip, IpProtocol(99), port, net),
            other => other,
        })
        .collect();
    subject.sets().add(&spec, &first).unwrap();
    assert_eq!(listed(subject, "large").len(), 65_535);
    subject.sets().add(&spec, &second).unwrap();
    assert_eq!(header(subject, "large").entries, 75_535);
    subject.sets().delete(&spec, &second).unwrap();
    subject.sets().delete(&spec, &first).unwrap();
    assert_eq!(listed(subject, "large"), []);
}

pub(crate) fn nothing_to_add_is_no_request(subject: &mut dyn Subject) {
    let missing = set("missing", SetKind::HashIp, 10);
    subject.sets().add(&missing, &[]).unwrap();
    subject.sets().delete(&missing, &[]).unwrap();
}
