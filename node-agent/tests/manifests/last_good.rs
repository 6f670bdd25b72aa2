//! A source that starts when a file is broken.

use std::fs;

use sluice_agent::source::ManifestSource;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use tempfile::TempDir;

use crate::lab::{Lab, changes, refusals, service};

/// Starts a new source that keeps copies. Returns what its first update says, with the number of refusals.
fn start(lab: &mut Lab, copies: &TempDir) -> (Vec<String>, usize) {
    let source = ManifestSource::new(
        lab.directory.path(),
        "n1",
        ServiceProxyPolicySpec::default(),
    );
    lab.source = source.with_last_good(copies.path().join("manifests"));
    lab.source.save_last_good();
    load(lab)
}

/// Loads, and saves as the watch does, which saves before the first load too.
fn load(lab: &mut Lab) -> (Vec<String>, usize) {
    let update = lab.load();
    lab.source.save_last_good();
    (changes(&update), refusals(&update).len())
}

fn lab() -> (Lab, TempDir) {
    let copies = tempfile::tempdir().unwrap();
    let mut lab = Lab::new();
    lab.write("a.yaml", &service("a", "10.0.0.1"));
    lab.write("b.yaml", &service("b", "10.0.0.2"));
    start(&mut lab, &copies);
    (lab, copies)
}

#[test]
fn a_file_that_cannot_be_parsed_is_served_from_its_copy_at_every_start_until_it_is_good_again() {
    let (mut lab, copies) = lab();
    lab.write("a.yaml", "kind: {");
    for _ in 0..3 {
        let (told, refused) = start(&mut lab, &copies);
        assert_eq!(told, ["+service ns/a 10.0.0.1", "+service ns/b 10.0.0.2"]);
        assert_eq!(refused, 1);
    }
    lab.write("a.yaml", &service("a", "10.0.0.3"));
    assert_eq!(load(&mut lab).0, ["+service ns/a 10.0.0.3"]);
    lab.write("a.yaml", "kind: {");
    let (told, _) = start(&mut lab, &copies);
    assert_eq!(told[0], "+service ns/a 10.0.0.3", "the copy follows");
}

#[test]
fn only_the_objects_that_are_refused_are_taken_from_the_copy() {
    let (mut lab, copies) = lab();
    let text = service("a", "10.0.0.1") + &service("c", "10.0.0.3");
    lab.write("a.yaml", &text);
    load(&mut lab);
    // One is refused, one is changed, one is new.
    let text = service("a", "10.0.0") + &service("c", "10.0.0.4") + &service("d", "10.0.0.5");
    lab.write("a.yaml", &text);
    let (told, refused) = start(&mut lab, &copies);
    let expected = [
        "+service ns/a 10.0.0.1",
        "+service ns/b 10.0.0.2",
        "+service ns/c 10.0.0.4",
        "+service ns/d 10.0.0.5",
    ];
    assert_eq!(
        (told.as_slice(), refused),
        (&expected.map(str::to_owned)[..], 1)
    );
    lab.write("a.yaml", &service("d", "10.0.0.5"));
    let (told, refused) = load(&mut lab);
    assert_eq!(told, ["-service ns/a", "-service ns/c"]);
    assert_eq!(refused, 0);
}

#[test]
fn a_file_that_is_deleted_has_no_copy_any_more() {
    let (mut lab, copies) = lab();
    lab.remove("a.yaml");
    load(&mut lab);
    lab.write("a.yaml", "kind: {");
    assert_eq!(start(&mut lab, &copies).0, ["+service ns/b 10.0.0.2"]);
    // While nobody looked, too.
    lab.remove("b.yaml");
    start(&mut lab, &copies);
    let left: Vec<_> = fs::read_dir(copies.path().join("manifests"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[test]
fn a_directory_that_cannot_be_written_hurts_nobody_and_is_written_once_it_can_be() {
    let copies = tempfile::tempdir().unwrap();
    let directory = copies.path().join("manifests");
    fs::write(&directory, "in the way").unwrap();
    let mut lab = Lab::new();
    lab.write("a.yaml", &service("a", "10.0.0.1"));
    assert_eq!(start(&mut lab, &copies).0, ["+service ns/a 10.0.0.1"]);
    fs::remove_file(&directory).unwrap();
    lab.source.save_last_good();
    let copy = fs::read_to_string(directory.join("a.yaml")).unwrap();
    assert_eq!(copy, service("a", "10.0.0.1"));
}
