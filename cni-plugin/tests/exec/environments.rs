//! What a runtime may get wrong in the environment, or somebody puts there on purpose.

use crate::call::{Call, chained};

#[test]
fn names_with_tricks_are_refused_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let long = "a".repeat(201);
    let wide = "ä".repeat(8);
    let cases: [(&str, &str); 26] = [
        ("CNI_CONTAINERID", ""),
        ("CNI_CONTAINERID", "."),
        ("CNI_CONTAINERID", ".."),
        ("CNI_CONTAINERID", "../../etc/passwd"),
        ("CNI_CONTAINERID", "a/../b"),
        ("CNI_CONTAINERID", "/abs"),
        ("CNI_CONTAINERID", "-rf"),
        ("CNI_CONTAINERID", ".hidden"),
        ("CNI_CONTAINERID", "_a"),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_CONTAINERID", "a\nb"),
        ("CNI_CONTAINERID", "a:b"),
        ("CNI_CONTAINERID", "ünder"),
        ("CNI_CONTAINERID", "$(reboot)"),
        ("CNI_CONTAINERID", &long),
        ("CNI_IFNAME", ""),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "../x"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "eth 0"),
        ("CNI_IFNAME", "eth0\t"),
        ("CNI_IFNAME", "sixteen-bytes-xx"),
        ("CNI_IFNAME", &wide),
        ("CNI_IFNAME", "a\u{7f}b"),
    ];
    for (name, value) in cases {
        for verb in ["ADD", "DEL", "CHECK"] {
            let call = Call::new(verb, chained("1.0.0", directory.path(), ""));
            let case = format!("{verb} with {name}={value:?}");
            call.with(name, value).refused(&case, 4, "");
        }
    }
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "a refused call left something");
}

#[test]
fn each_verb_asks_for_its_own_variables() {
    let directory = tempfile::tempdir().unwrap();
    for (verb, name, needed) in [
        ("ADD", "CNI_CONTAINERID", true),
        ("ADD", "CNI_IFNAME", true),
        ("ADD", "CNI_NETNS", true),
        ("CHECK", "CNI_NETNS", true),
        ("DEL", "CNI_CONTAINERID", true),
        ("DEL", "CNI_IFNAME", true),
        ("DEL", "CNI_NETNS", false),
        ("DEL", "CNI_ARGS", false),
        ("DEL", "CNI_PATH", false),
    ] {
        let case = format!("{verb} without {name}");
        let call = Call::new(verb, chained("1.1.0", directory.path(), "")).without(name);
        if needed {
            call.refused(&case, 4, name);
        } else {
            call.succeeds(&case);
        }
    }
    let more = r#","statusGate":false,"cni.dev/valid-attachments":[]"#;
    for verb in ["GC", "STATUS"] {
        let mut call = Call::new(verb, chained("1.1.0", directory.path(), more));
        for name in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"] {
            call = call.without(name);
        }
        call.succeeds(verb);
    }
}

#[test]
fn arguments_that_are_no_pod_are_refused_at_add_and_passed_over_at_del() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        "x",
        "K8S_POD_NAME",
        "K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=c",
        "K8S_POD_NAME=a b",
        "K8S_POD_UID=\u{1}",
    ] {
        let call = |verb| {
            Call::new(verb, chained("1.0.0", directory.path(), "")).with("CNI_ARGS", arguments)
        };
        call("ADD").refused(arguments, 4, "CNI_ARGS");
        call("DEL").succeeds(arguments);
    }
}

#[test]
fn a_sandbox_must_be_another_network_namespace() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (netns, part) in [
        ("relative/path".to_owned(), "absolute"),
        (text(&file), "is not a network namespace"),
        (text(&pipe), "is not a network namespace"),
        (text(directory.path()), "is not a network namespace"),
        ("/proc/self/ns/mnt".to_owned(), "is not a network namespace"),
        ("/proc/self/ns/net".to_owned(), "the node's own"),
        ("/dev/null".to_owned(), "is not a network namespace"),
    ] {
        for verb in ["ADD", "CHECK"] {
            let call = Call::new(verb, chained("1.0.0", directory.path(), ""));
            call.with("CNI_NETNS", netns.clone())
                .refused(&netns, 4, part);
        }
    }
    assert!(!directory.path().join("state").exists());
}
