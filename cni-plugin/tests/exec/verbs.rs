//! Every verb in every version.

use crate::call::{Call, VERSIONS, chained, conf};

const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// The first version that has a verb.
fn since(verb: &str) -> &'static str {
    match verb {
        "GC" | "STATUS" => "1.1.0",
        "CHECK" => "0.4.0",
        _ => "0.3.0",
    }
}

#[test]
fn a_verb_is_served_from_its_version_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut cases = 0;
    for verb in VERBS {
        for version in VERSIONS {
            let case = format!("{verb} {version}");
            let more = r#","statusGate":false,"cni.dev/valid-attachments":[]"#;
            let call = Call::new(verb, chained(version, directory.path(), more));
            cases += 1;
            if version < since(verb) {
                call.refused(&case, 1, since(verb));
            } else if verb == "ADD" || verb == "CHECK" {
                call.refused(&case, 4, "/run/netns/not-there");
            } else {
                assert_eq!(call.succeeds(&case), "", "{case}");
            }
        }
    }
    assert_eq!(cases, 25);
}

#[test]
fn an_answer_has_the_version_asked_with() {
    for version in VERSIONS {
        let outcome = Call::new("ADD", conf(version, "")).run();
        assert!(
            outcome
                .stdout
                .starts_with(&format!(r#"{{"cniVersion":"{version}","code":7"#)),
            "{outcome:?}"
        );
    }
}

#[test]
fn version_tells_all_that_are_spoken() {
    for version in ["0.3.0", "1.1.0", "0.2.0", "2.0.0", "x"] {
        let call = Call::new("VERSION", format!(r#"{{"cniVersion":"{version}"}}"#));
        for call in [
            call.clone(),
            call.without("CNI_CONTAINERID").without("CNI_NETNS"),
        ] {
            assert_eq!(
                call.succeeds(version).trim(),
                format!(
                    r#"{{"cniVersion":"{version}","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}}"#
                )
            );
        }
    }
}

#[test]
fn other_versions_and_verbs_are_refused() {
    for version in [
        "0.1.0", "0.2.0", "1.2.0", "2.0.0", "1.1", "v1.1.0", "", " 1.1.0", "1.1.0 ",
    ] {
        for verb in VERBS {
            let case = format!("{verb} {version:?}");
            Call::new(verb, conf(version, "")).refused(&case, 1, "set it to one of 0.3.0");
        }
    }
    Call::new("ADD", r#"{"name":"pods"}"#).refused("no version", 1, "cniVersion");
    for verb in ["add", "UPDATE", "ADD ", "ADD;DEL", &"A".repeat(5000)] {
        Call::new(verb, conf("1.1.0", "")).refused(verb, 4, "CNI_COMMAND");
    }
    let none = Call::new("ADD", conf("1.1.0", ""));
    none.clone()
        .without("CNI_COMMAND")
        .refused("no verb", 4, "CNI_COMMAND");
    none.with("CNI_COMMAND", "")
        .refused("empty verb", 4, "CNI_COMMAND");
}
