//! Links to files elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use sluice_agent::source::ManifestSource;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

use crate::lab::{Lab, changes, refusals, service};

#[test]
fn a_link_whose_target_cannot_be_looked_at_keeps_its_objects_and_one_whose_target_is_gone_does_not()
{
    let elsewhere = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target.yaml");
    fs::write(&target, service("a", "10.0.0.1")).unwrap();
    let mut lab = Lab::new();
    lab.source = ManifestSource::new(
        lab.directory.path(),
        "n1",
        ServiceProxyPolicySpec::default(),
    )
    .with_last_good(copies.path());
    symlink(&target, lab.directory.path().join("f.yaml")).unwrap();
    let load = |lab: &mut Lab| {
        let update = lab.load();
        lab.source.save_last_good();
        (changes(&update), refusals(&update))
    };
    assert_eq!(load(&mut lab).0, ["+service ns/a 10.0.0.1"]);

    // What a server of files that is away says is an error too.
    fs::remove_file(&target).unwrap();
    symlink(&target, &target).unwrap();
    let (told, refused) = load(&mut lab);
    assert_eq!((told.len(), refused.len()), (0, 1), "{told:?} {refused:?}");
    assert!(refused[0].starts_with("f.yaml: the file cannot be read ("));
    assert_eq!(load(&mut lab), (vec![], vec![]), "told once");
    assert!(copies.path().join("f.yaml").exists());

    fs::remove_file(&target).unwrap();
    let (told, _) = load(&mut lab);
    assert_eq!(told, ["-service ns/a"]);
    assert_eq!(lab.source.refusals().count(), 0);
    assert!(!copies.path().join("f.yaml").exists());
}
