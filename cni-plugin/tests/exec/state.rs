//! DEL and GC meet anything on disk. What is here holds no address in any set, so no root is needed.

use std::fs;
use std::path::Path;

use crate::call::{Call, chained};

/// As the plugin writes it, of a pod without a class.
fn put(directory: &Path, container: &str, network: &str) {
    let state = directory.join("state");
    fs::create_dir_all(&state).unwrap();
    let record = serde_json::json!({
        "version": 1, "id": {"container": container, "interface": "eth0"}, "netns": "/run/netns/x", "network": network,
        "addresses": ["10.0.0.2"], "hairpin": {"kind": "nothing"}, "treatment": {"hairpin": "None"},
    });
    fs::write(
        state.join(format!("{container}:eth0.json")),
        record.to_string(),
    )
    .unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock" && name != "by-address")
        .collect();
    names.sort();
    names
}

#[test]
fn del_is_done_twice_late_and_over_what_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let del = |container: &str| {
        let call = Call::new("DEL", chained("1.0.0", directory.path(), ""));
        assert_eq!(
            call.with("CNI_CONTAINERID", container).succeeds(container),
            ""
        );
    };
    del("never-seen");
    assert!(!directory.path().join("state").exists());
    put(directory.path(), "one", "pods");
    put(directory.path(), "two", "pods");
    del("one");
    del("one");
    assert_eq!(names(directory.path()), ["two:eth0.json"]);
    let path = directory.path().join("state/two:eth0.json");
    for damage in ["", "{", "null", r#"{"version":1}"#, "\0\0\0"] {
        fs::write(&path, damage).unwrap();
        fs::write(directory.path().join("state/.two:eth0.json.new"), "{").unwrap();
        del("two");
        assert!(
            names(directory.path()).is_empty(),
            "{:?}",
            names(directory.path())
        );
    }
}

#[test]
fn gc_removes_what_no_valid_attachment_of_this_network_owns() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: to look at address sets needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (container, network) in [("valid", "pods"), ("stale", "pods"), ("other", "others")] {
        put(directory.path(), container, network);
    }
    fs::write(directory.path().join("state/bad:eth0.json"), "{").unwrap();
    fs::write(directory.path().join("state/.half:eth0.json.new"), "{").unwrap();
    let more = r#","cni.dev/valid-attachments":[{"containerID":"valid","ifname":"eth0"},{"containerID":"../x","ifname":"eth0"}]"#;
    let gc = Call::new("GC", chained("1.1.0", directory.path(), more));
    for _ in 0..2 {
        assert_eq!(gc.in_a_namespace().succeeds("GC"), "");
        assert_eq!(
            names(directory.path()),
            ["other:eth0.json", "valid:eth0.json"]
        );
    }
}
