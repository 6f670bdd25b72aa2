//! Memberships over time, with sets in memory.

use std::collections::BTreeSet;
use std::time::Duration;

use sluice_attachment::store::Store;
use sluice_attachment::{AttachmentId, Family, HairpinSet, Record, SetName, Treatment};
use sluice_kernel::address_set::{AddressSetError, AddressSets, MemorySets};

use super::{MembershipError, join, leave, members, spec, sweep};

fn set(name: &str, family: Family) -> SetName {
    SetName {
        family,
        name: name.to_owned(),
    }
}

fn record(container: &str, addresses: &[&str], sets: &[&str]) -> Record {
    let both = |name: &&str| {
        [
            set(&format!("{name}4"), Family::V4),
            set(&format!("{name}6"), Family::V6),
        ]
    };
    Record {
        version: 1,
        id: AttachmentId::new(container, "eth0").unwrap(),
        netns: "/run/netns/x".to_owned(),
        network: "pods".to_owned(),
        pod: None,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        host_interface: None,
        hairpin: HairpinSet::Nothing,
        treatment: Treatment {
            sets: sets.iter().flat_map(both).collect(),
            ..Treatment::default()
        },
    }
}

/// A node with the classes keep, masq and snat.
struct Node {
    _directory: tempfile::TempDir,
    store: Store,
    sets: MemorySets,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut sets = MemorySets::new();
        for name in ["keep", "masq", "snat"] {
            for (family, digit) in [(Family::V4, 4), (Family::V6, 6)] {
                let spec = spec(&set(&format!("{name}{digit}"), family));
                let spec = sluice_kernel::address_set::SetSpec {
                    max_entries: 1000,
                    expected_entries: 16,
                    ..spec
                };
                sets.create(&spec).unwrap();
            }
        }
        Self {
            _directory: directory,
            store,
            sets,
        }
    }

    fn join(&self, record: &Record) {
        self.try_join(record, true).unwrap();
    }

    fn try_join(&self, record: &Record, absent_is_error: bool) -> Result<(), MembershipError> {
        let store = self.store.lock(Duration::ZERO).unwrap();
        join(&store, record, absent_is_error, &mut || {
            Ok(Box::new(self.sets.clone()))
        })
    }

    /// As DEL does.
    fn leave(&self, record: &Record) {
        let store = self.store.lock(Duration::ZERO).unwrap();
        if let Some(record) = store.get(&record.id).unwrap() {
            leave(&store, &record, &mut || Ok(Box::new(self.sets.clone()))).unwrap();
        }
    }

    fn members(&self) -> BTreeSet<String> {
        let mut sets = self.sets.clone();
        let mut found = BTreeSet::new();
        for name in ["keep4", "keep6", "masq4", "masq6", "snat4", "snat6"] {
            let members = members(&mut sets, name).unwrap().unwrap();
            found.extend(
                members
                    .into_iter()
                    .map(|address| format!("{name} {address}")),
            );
        }
        found
    }

    fn holds(&self, expected: &[&str]) {
        let expected = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(self.members(), expected);
    }
}

#[test]
fn a_pod_is_in_the_sets_of_its_class_until_it_leaves() {
    let node = Node::new();
    let one = record("one", &["10.0.0.1", "fd00::1"], &["keep"]);
    let two = record("two", &["10.0.0.2"], &["masq", "snat"]);
    for record in [&one, &two, &one] {
        node.join(record);
    }
    node.holds(&[
        "keep4 10.0.0.1",
        "keep6 fd00::1",
        "masq4 10.0.0.2",
        "snat4 10.0.0.2",
    ]);
    node.leave(&one);
    node.leave(&one);
    node.holds(&["masq4 10.0.0.2", "snat4 10.0.0.2"]);
    node.leave(&two);
    node.holds(&[]);
    assert!(
        node.store
            .lock(Duration::ZERO)
            .unwrap()
            .list()
            .unwrap()
            .records
            .is_empty()
    );
}

#[test]
fn an_address_that_moved_on_has_the_class_of_its_new_holder_only() {
    let node = Node::new();
    let dead = record("dead", &["10.0.0.1", "10.0.0.9"], &["masq"]);
    let alive = record("alive", &["10.0.0.1"], &["keep"]);
    node.join(&dead);
    node.join(&alive);
    node.holds(&["keep4 10.0.0.1", "masq4 10.0.0.9"]);
    // Late.
    node.leave(&dead);
    node.holds(&["keep4 10.0.0.1"]);
    node.leave(&alive);
    node.holds(&[]);
}

#[test]
fn a_late_removal_leaves_an_address_in_a_set_that_its_new_holder_shares() {
    let node = Node::new();
    let dead = record("dead", &["10.0.0.1"], &["masq", "snat"]);
    let alive = record("alive", &["10.0.0.1"], &["masq"]);
    node.join(&dead);
    node.join(&alive);
    node.holds(&["masq4 10.0.0.1"]);
    node.leave(&dead);
    node.holds(&["masq4 10.0.0.1"]);
}

#[test]
fn two_records_that_hold_one_address_all_the_same_lose_it_one_by_one() {
    let node = Node::new();
    let (one, two) = (
        record("one", &["10.0.0.1"], &["masq"]),
        record("two", &["10.0.0.1"], &["masq", "keep"]),
    );
    node.join(&one);
    node.join(&two);
    node.store.lock(Duration::ZERO).unwrap().put(&one).unwrap();
    node.leave(&two);
    node.holds(&["masq4 10.0.0.1"]);
    node.leave(&one);
    node.holds(&[]);
}

#[test]
fn an_attachment_made_again_keeps_nothing_of_the_first() {
    let node = Node::new();
    node.join(&record("one", &["10.0.0.1", "fd00::1"], &["keep"]));
    node.join(&record("one", &["10.0.0.2", "fd00::1"], &["masq"]));
    node.holds(&["masq4 10.0.0.2", "masq6 fd00::1"]);
}

#[test]
fn a_set_that_is_not_there_matters_where_the_agent_named_it() {
    let node = Node::new();
    let early = record("early", &["10.0.0.1"], &["later"]);
    assert!(matches!(
        node.try_join(&early, true),
        Err(MembershipError::NotYet(_))
    ));
    node.try_join(&early, false).unwrap();
    node.leave(&early);
    let store = node.store.lock(Duration::ZERO).unwrap();
    let unsupported = || Err(AddressSetError::Unsupported);
    assert!(join(&store, &early, true, &mut { unsupported }).is_err());
    join(&store, &early, false, &mut { unsupported }).unwrap();
    leave(&store, &early, &mut { unsupported }).unwrap();
}

#[test]
fn what_no_record_holds_is_swept_out() {
    let node = Node::new();
    let one = record("one", &["10.0.0.1"], &["keep"]);
    let lost = record("lost", &["10.0.0.2"], &["keep"]);
    node.join(&one);
    node.join(&lost);
    let store = node.store.lock(Duration::ZERO).unwrap();
    store.remove(&lost.id).unwrap();
    let names = BTreeSet::from([set("keep4", Family::V4), set("absent", Family::V4)]);
    let records = store.list().unwrap().records;
    sweep(&records, &names, &mut || Ok(Box::new(node.sets.clone()))).unwrap();
    node.holds(&["keep4 10.0.0.1"]);
}
