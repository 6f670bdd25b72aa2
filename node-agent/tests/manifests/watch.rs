//! Changes are noticed as they happen.

use std::fs;
use std::time::{Duration, Instant};

use sluice_agent::source::{ManifestError, ManifestSource, Source, SourceError};
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

use crate::lab::{Lab, changes, service};

/// Longer than any change takes to be noticed, shorter than the time between looks without notification.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn changes_are_noticed_as_they_happen_also_when_a_link_is_swapped() {
    let lab = Lab::new();
    let root = lab.directory.path().to_owned();
    // As kubelet lays a ConfigMap out.
    for (version, ip) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("f.yaml"), service("a", ip)).unwrap();
    }
    std::os::unix::fs::symlink("..1", root.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/f.yaml", root.join("f.yaml")).unwrap();
    let mut watch = ManifestSource::new(&root, "n1", ServiceProxyPolicySpec::default()).watch();
    assert_eq!(
        changes(&watch.next_update(Duration::ZERO).unwrap().unwrap()),
        ["+service ns/a 10.0.0.1"]
    );
    // Reading the files is no change of them.
    assert_eq!(watch.next_update(Duration::from_millis(500)).unwrap(), None);

    let swap = root.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::os::unix::fs::symlink("..2", swap.join("..new")).unwrap();
        fs::rename(swap.join("..new"), swap.join("..data")).unwrap();
    });
    let start = Instant::now();
    let update = watch
        .next_update(SOON)
        .unwrap()
        .expect("the swap was not noticed");
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.2"]);
    assert!(start.elapsed() < SOON);
    writer.join().unwrap();

    lab.write("g.yaml", &service("b", "10.0.0.3"));
    assert_eq!(
        changes(&watch.next_update(SOON).unwrap().unwrap()),
        ["+service ns/b 10.0.0.3"]
    );
    lab.remove("g.yaml");
    assert_eq!(
        changes(&watch.next_update(SOON).unwrap().unwrap()),
        ["-service ns/b"]
    );
}

#[test]
fn a_directory_that_comes_back_is_followed_again_and_its_absence_is_told_once() {
    let lab = Lab::new();
    let root = lab.directory.path().join("manifests");
    let mut early = ManifestSource::new(&root, "n1", ServiceProxyPolicySpec::default()).watch();
    assert!(matches!(
        early.next_update(SOON),
        Err(SourceError::Manifests(ManifestError::Missing { .. }))
    ));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f.yaml"), service("a", "10.0.0.1")).unwrap();
    assert_eq!(changes(&early.next_update(SOON).unwrap().unwrap()).len(), 1);

    fs::rename(&root, root.with_extension("old")).unwrap();
    assert!(early.next_update(SOON).is_err());
    assert_eq!(early.next_update(Duration::from_secs(3)).unwrap(), None);
    fs::create_dir(&root).unwrap();
    fs::write(
        root.join("f.yaml"),
        service("a", "10.0.0.1") + &service("b", "10.0.0.2"),
    )
    .unwrap();
    assert_eq!(
        changes(&early.next_update(SOON).unwrap().unwrap()),
        ["+service ns/b 10.0.0.2"]
    );
    fs::write(root.join("f.yaml"), service("b", "10.0.0.2")).unwrap();
    assert_eq!(
        changes(&early.next_update(SOON).unwrap().unwrap()),
        ["-service ns/a"]
    );
}
