//! Who holds an address, whatever becomes of the index.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sluice_attachment::store::{LockedStore, Store};
use sluice_attachment::{AttachmentId, Record};
use tempfile::TempDir;

use crate::{PATIENCE, names, record};

const INDEX: &str = "by-address";

struct Place {
    directory: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        Self { directory, store }
    }

    /// With records `one` and `two`, of 10.0.0.1 and 10.0.0.2.
    fn of_two() -> (Self, Record, Record) {
        let place = Self::new();
        let (one, two) = (record("one", "10.0.0.1"), record("two", "10.0.0.2"));
        for record in [&one, &two] {
            place.lock().put(record).unwrap();
        }
        (place, one, two)
    }

    fn lock(&self) -> LockedStore<'_> {
        self.store.lock(PATIENCE).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn index(&self) -> Vec<String> {
        names(&self.path(INDEX))
    }

    fn link(&self, address: &str) -> PathBuf {
        self.path(INDEX).join(address)
    }

    /// Container ids of those that hold an address.
    fn holders(&self, address: &str) -> Vec<String> {
        let nobody = AttachmentId::new("nobody", "eth0").unwrap();
        let addresses = [address.parse().unwrap()].into();
        let holders = self.lock().others_holding(&addresses, &nobody).unwrap();
        holders
            .iter()
            .map(|record| record.id.container().to_owned())
            .collect()
    }

    /// As the agent does from time to time.
    fn list(&self) -> Vec<Record> {
        let listing = self.lock().list().unwrap();
        assert!(listing.disagreement.is_none(), "{:?}", listing.disagreement);
        listing.records
    }
}

#[test]
fn an_address_is_found_without_a_look_at_other_records() {
    let (place, one, _) = Place::of_two();
    // Whoever read it would set it aside.
    let unread = place.path("unread:eth0.json");
    fs::write(&unread, "{").unwrap();
    assert_eq!(place.holders("10.0.0.1"), ["one"]);
    assert_eq!(place.holders("10.0.0.3"), [""; 0]);
    place.lock().put(&record("three", "10.0.0.3")).unwrap();
    place.lock().remove(&one.id).unwrap();
    assert!(unread.exists());
    assert_eq!(place.index(), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn an_entry_goes_with_its_address_and_with_its_record() {
    let (place, mut one, two) = Place::of_two();
    one.addresses.push("fd00::1".parse().unwrap());
    place.lock().put(&one).unwrap();
    assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2", "fd00::1"]);
    let text = fs::read_to_string(place.link("fd00::1")).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), one);
    one.addresses.remove(0);
    place.lock().put(&one).unwrap();
    assert_eq!(place.index(), ["10.0.0.2", "fd00::1"]);
    for record in [one, two] {
        place.lock().remove(&record.id).unwrap();
    }
    assert_eq!(place.index(), [""; 0]);
    assert_eq!(names(place.directory.path()), [".lock", INDEX]);
}

#[test]
fn a_store_without_an_index_is_read_whole_and_has_one_from_the_next_writing_on() {
    let (place, one, _) = Place::of_two();
    let lose: [&dyn Fn(); 2] = [&|| fs::remove_dir_all(place.path(INDEX)).unwrap(), &|| {
        fs::remove_dir_all(place.path(INDEX)).unwrap();
        fs::write(place.path(INDEX), "").unwrap();
    }];
    for lose in lose {
        lose();
        assert_eq!(place.holders("10.0.0.2"), ["two"]);
        place
            .lock()
            .remove(&record("absent", "10.0.0.9").id)
            .unwrap();
        place.lock().put(&one).unwrap();
        assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"]);
        lose();
        place.list();
        assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"]);
    }
}

#[test]
fn an_entry_that_is_wrong_means_nothing_and_is_repaired() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret:eth0.json");
    fs::write(&secret, "{").unwrap();
    let through = format!("../../{}", secret.to_str().unwrap());
    let wrong = |path: &Path, target: &str| symlink(target, path).unwrap();
    let entries: [&dyn Fn(&Path); 8] = [
        &|path| wrong(path, "../gone:eth0.json"),
        &|path| wrong(path, "../two:eth0.json"),
        &|path| wrong(path, "../.lock"),
        &|path| wrong(path, &through),
        &|path| wrong(path, secret.to_str().unwrap()),
        &|path| wrong(path, "../.."),
        &|path| fs::write(path, "../two:eth0.json").unwrap(),
        &|path| fs::create_dir_all(path.join("deep")).unwrap(),
    ];
    for (number, make) in entries.iter().enumerate() {
        let (place, one, two) = Place::of_two();
        fs::remove_file(place.link("10.0.0.1")).unwrap();
        make(&place.link("10.0.0.1"));
        make(&place.link("10.0.0.7"));
        assert_eq!(place.holders("10.0.0.1"), [""; 0], "{number}");
        assert_eq!(place.holders("10.0.0.7"), [""; 0], "{number}");
        assert_eq!(place.list(), [one, two], "{number}");
        assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"], "{number}");
        assert_eq!(place.holders("10.0.0.1"), ["one"], "{number}");
        // What is in the way of an entry does not keep it from being made.
        make(&place.link("10.0.0.8"));
        place.lock().put(&record("eight", "10.0.0.8")).unwrap();
        assert_eq!(place.holders("10.0.0.8"), ["eight"], "{number}");
    }
    assert!(secret.exists());
}

#[test]
fn what_a_writer_that_died_left_goes() {
    // Between entry and record of a first attachment.
    let (place, ..) = Place::of_two();
    symlink("../half:eth0.json", place.link("10.0.0.3")).unwrap();
    let half = AttachmentId::new("half", "eth0").unwrap();
    assert_eq!(place.holders("10.0.0.3"), [""; 0]);
    assert!(!place.lock().remove(&half).unwrap());
    assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"]);
    // Between record and entry of one that went.
    symlink("../half:eth0.json", place.link("10.0.0.3")).unwrap();
    place.list();
    assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"]);
    // While the index was made, before and after the old one was moved away.
    for [from, to] in [["absent", "absent"], [INDEX, ".by-address.old"]] {
        fs::create_dir(place.path(".by-address.new")).unwrap();
        symlink("../x:eth0.json", place.path(".by-address.new/10.0.0.3")).unwrap();
        let _ = fs::rename(place.path(from), place.path(to));
        assert_eq!(place.holders("10.0.0.2"), ["two"]);
        place.list();
        assert_eq!(place.index(), ["10.0.0.1", "10.0.0.2"]);
        let left = names(place.directory.path());
        assert_eq!(left, [".lock", INDEX, "one:eth0.json", "two:eth0.json"]);
    }
}

#[test]
fn an_address_whose_entry_was_lost_is_its_last_holders_after_the_next_listing() {
    for entry_is_lost_again in [false, true] {
        // Neither name nor order of reading decides.
        for (first, second) in [("one", "two"), ("two", "one")] {
            let place = Place::new();
            let mut old = record(first, "10.0.0.1");
            old.addresses.push("10.0.0.5".parse().unwrap());
            place.lock().put(&old).unwrap();
            fs::remove_file(place.link("10.0.0.1")).unwrap();
            // Time stamps of files are as coarse as the kernel's clock ticks.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let new = record(second, "10.0.0.1");
            place.lock().put(&new).unwrap();
            if entry_is_lost_again {
                fs::remove_file(place.link("10.0.0.1")).unwrap();
            }
            let listed = place.list();
            assert_eq!(place.holders("10.0.0.1"), [second]);
            assert_eq!(place.holders("10.0.0.5"), [first]);
            old.addresses.remove(0);
            assert!(listed.contains(&old) && listed.contains(&new), "{listed:?}");
            assert_eq!(place.list(), listed);
        }
    }
}

#[test]
fn a_store_goes_when_it_is_empty() {
    let (place, one, two) = Place::of_two();
    let path = place.directory.path();
    Store::remove_if_empty(path).unwrap();
    assert_eq!(place.holders("10.0.0.1"), ["one"]);
    for record in [one, two] {
        place.lock().remove(&record.id).unwrap();
    }
    Store::remove_if_empty(path).unwrap();
    assert!(!path.exists());
    Store::remove_if_empty(path).unwrap();
}

#[test]
fn a_store_goes_with_all_that_it_remembers() {
    let (place, _, _) = Place::of_two();
    let path = place.directory.path();
    Store::remove(path).unwrap();
    assert!(!path.exists());
    Store::remove(path).unwrap();
}
