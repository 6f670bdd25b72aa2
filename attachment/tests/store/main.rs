//! The store: what it holds survives writers that die, files that are damaged and many processes at once.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod index;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sluice_attachment::store::{Store, StoreError};
use sluice_attachment::{AttachmentId, HairpinSet, Record, Treatment};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn record(container: &str, address: &str) -> Record {
    Record {
        version: 1,
        id: AttachmentId::new(container, "eth0").unwrap(),
        netns: "/run/netns/x".to_owned(),
        network: "pods".to_owned(),
        pod: None,
        addresses: vec![address.parse().unwrap()],
        host_interface: Some("veth0".to_owned()),
        hairpin: HairpinSet::BridgePort {
            bridge: "cni0".to_owned(),
        },
        treatment: Treatment::default(),
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_put_is_listed_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("a/b")).unwrap();
    let locked = store.lock(PATIENCE).unwrap();
    let (one, two) = (record("one", "10.0.0.1"), record("two", "10.0.0.2"));
    for record in [&two, &one, &one] {
        locked.put(record).unwrap();
    }
    assert_eq!(locked.get(&one.id).unwrap(), Some(one.clone()));
    assert_eq!(locked.list().unwrap().records, [one.clone(), two.clone()]);
    let address = [one.addresses[0]].into();
    let holders = |id| locked.others_holding(&address, id);
    assert_eq!(holders(&two.id).unwrap(), std::slice::from_ref(&one));
    assert_eq!(holders(&one.id).unwrap(), []);
    assert!(locked.remove(&one.id).unwrap());
    assert!(!locked.remove(&one.id).unwrap());
    assert_eq!(locked.list().unwrap().records, [two]);
}

#[test]
fn a_damaged_file_costs_its_attachment_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let locked = store.lock(PATIENCE).unwrap();
    let good = record("good", "10.0.0.1");
    locked.put(&good).unwrap();
    let other = serde_json::to_vec(&record("another", "10.0.0.3")).unwrap();
    let huge = vec![b' '; 300_000];
    let damaged: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("cut", b"{\"version\":1,"),
        ("binary", &[0xff; 99]),
        ("misnamed", &other),
        ("huge", &huge),
    ];
    for (name, bytes) in damaged {
        fs::write(directory.path().join(format!("{name}:eth0.json")), bytes).unwrap();
    }
    fs::create_dir(directory.path().join("directory:eth0.json")).unwrap();
    fs::write(directory.path().join(".half:eth0.json.new"), "{").unwrap();
    let id = |name| AttachmentId::new(name, "eth0").unwrap();
    assert_eq!(locked.get(&id("cut")).unwrap(), None);
    let listing = locked.list().unwrap();
    assert_eq!(listing.records, std::slice::from_ref(&good));
    assert_eq!(listing.corrupt.len(), 5, "{:?}", listing.corrupt);
    assert!(locked.list().unwrap().corrupt.is_empty());
    locked.put(&record("empty", "10.0.0.2")).unwrap();
    assert!(locked.remove(&id("empty")).unwrap());
    assert!(!directory.path().join("empty:eth0.json.corrupt").exists());
    locked.sweep().unwrap();
    assert_eq!(
        names(directory.path()),
        [
            ".lock",
            "by-address",
            "directory:eth0.json.corrupt",
            &good.id.file_name()
        ]
    );
    assert_eq!(names(&directory.path().join("by-address")), ["10.0.0.1"]);
}

#[test]
fn unknown_fields_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut newer = serde_json::to_value(record("newer", "10.0.0.1")).unwrap();
    newer["version"] = 2.into();
    newer["colour"] = "green".into();
    newer["treatment"]["flavour"] = "mint".into();
    fs::write(directory.path().join("newer:eth0.json"), newer.to_string()).unwrap();
    let locked = store.lock(PATIENCE).unwrap();
    assert_eq!(locked.list().unwrap().records[0].version, 2);
}

#[test]
fn a_lock_is_waited_for_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let held = store.lock(PATIENCE).unwrap();
    let begin = Instant::now();
    let refused = store.lock(Duration::from_millis(30));
    assert!(matches!(refused, Err(StoreError::Locked { .. })));
    assert!(begin.elapsed() >= Duration::from_millis(30));
    drop(held);
    store.lock(Duration::ZERO).unwrap();
}

#[test]
fn what_cannot_be_written_leaves_the_old_record() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let locked = store.lock(PATIENCE).unwrap();
    let old = record("one", "10.0.0.1");
    locked.put(&old).unwrap();
    // In the way of the unfinished file.
    fs::create_dir(directory.path().join(".one:eth0.json.new")).unwrap();
    assert!(locked.put(&record("one", "10.0.0.9")).is_err());
    assert_eq!(locked.get(&old.id).unwrap(), Some(old));
}
