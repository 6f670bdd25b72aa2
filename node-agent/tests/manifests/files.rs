//! What a change of a file changes.

use std::fs;

use sluice_agent::source::{ManifestError, Update};

use crate::lab::{Lab, changes, refusals, service, slice};

#[test]
fn an_invalid_object_keeps_its_last_good_version_and_hurts_no_other() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
    );
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.1", "+service ns/b 10.0.0.2"]
    );

    lab.write(
        "f.yaml",
        &(service("a", "10.0.0") + &service("b", "10.0.0.3") + &service("c", "x")),
    );
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/b 10.0.0.3"]);
    assert_eq!(update.refusals.len(), 2);

    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.3")),
    );
    let update = lab.load();
    assert_eq!(
        changes(&update),
        [""; 0],
        "what is written is in force already"
    );
    assert_eq!((update.refusals.len(), update.settled.len()), (0, 2));
    assert_eq!(lab.source.refusals().count(), 0);
}

#[test]
fn an_object_is_not_removed_because_its_kind_or_name_became_unreadable() {
    for broken in [
        "kind: Servise",
        "kind: 5",
        "kind: Service\nspec: {type: X}",
        "metadata: {namespace: ns}",
    ] {
        let mut lab = Lab::new();
        lab.write(
            "f.yaml",
            &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
        );
        lab.load();
        let name = if broken.contains("metadata") {
            ""
        } else {
            "metadata: {name: a, namespace: ns}\n"
        };
        let api = "apiVersion: v1\n";
        lab.write(
            "f.yaml",
            &format!("{api}{name}{broken}\n{}", service("b", "10.0.0.3")),
        );
        let update = lab.load();
        assert_eq!(changes(&update), ["+service ns/b 10.0.0.3"], "{broken}");
        assert_eq!(update.refusals.len(), 1, "{broken}");
        lab.write("f.yaml", &service("b", "10.0.0.3"));
        assert_eq!(changes(&lab.load()), ["-service ns/a"], "{broken}");
    }
}

#[test]
fn a_file_that_does_not_parse_keeps_all_its_objects() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
    );
    lab.write("g.yaml", &service("c", "10.0.0.3"));
    lab.load();
    lab.write("f.yaml", &(service("a", "10.0.0.9") + "---\n}\n"));
    lab.write("g.yaml", &service("c", "10.0.0.4"));
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/c 10.0.0.4"]);
    assert_eq!(update.refusals.len(), 1);
    lab.write("f.yaml", &service("a", "10.0.0.9"));
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.9", "-service ns/b"]
    );
    lab.write("f.yaml", "}");
    assert_eq!(changes(&lab.load()), [""; 0]);
    lab.remove("f.yaml");
    assert_eq!(changes(&lab.load()), ["-service ns/a"]);
}

#[test]
fn a_file_that_is_no_text_keeps_its_objects() {
    let mut lab = Lab::new();
    lab.write("f.yaml", &service("a", "10.0.0.1"));
    lab.load();
    fs::write(lab.directory.path().join("f.yaml"), b"\xff\xfe").unwrap();
    let update = lab.load();
    assert_eq!(changes(&update), [""; 0]);
    assert!(
        refusals(&update)[0].starts_with("f.yaml: the file cannot be read ("),
        "{:?}",
        update.refusals
    );
}

#[test]
fn of_an_object_in_two_files_the_first_file_counts_and_the_second_inherits() {
    let mut lab = Lab::new();
    lab.write("b.yaml", &(slice("e", "a") + &service("a", "10.0.0.2")));
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.2", "+slice ns/e of a"]
    );
    lab.write("a.yaml", &service("a", "10.0.0.1"));
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.1"]);
    assert_eq!(
        refusals(&update),
        [
            "b.yaml:8: Service ns/a: a.yaml has it too and counts: remove it from one of the two files"
        ]
    );
    lab.write("b.yaml", &(slice("e", "a") + &service("a", "10.0.0.3")));
    assert!(
        lab.load().is_empty(),
        "what is refused is refused still, in the same words"
    );
    lab.remove("a.yaml");
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.3"]);
    assert_eq!(update.settled.len(), 1);
}

#[test]
fn an_object_that_moves_to_another_file_does_not_change() {
    for (from, to) in [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")] {
        let mut lab = Lab::new();
        lab.write(
            from,
            &(service("x", "10.0.0.1") + &service("y", "10.0.0.2")),
        );
        lab.load();
        lab.write(from, &service("x", "10.0.0.1"));
        lab.write(to, &service("y", "10.0.0.2"));
        assert!(lab.load().is_empty(), "{from} -> {to}");
        lab.remove(to);
        assert_eq!(changes(&lab.load()), ["-service ns/y"]);
    }
}

#[test]
fn an_object_twice_in_a_file_is_taken_once() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("a", "10.0.0.2")),
    );
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.1"]);
    assert_eq!(
        refusals(&update),
        [
            "f.yaml:10: Service ns/a: it is in this file already, on line 2, which counts: remove one of the two"
        ]
    );
}

#[test]
fn lists_are_their_items() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"},
         "spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 0}]}}]}"#;
    let yaml = "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n  spec: {clusterIP: 10.0.0.1, ports: [{port: 1}]}\n- metadata: {name: b}\n  spec: {clusterIP: 10.0.0.2, ports: [{port: 0}]}\n";
    let rows = [("f.json", json, 4), ("f.yaml", json, 4), ("f.yml", yaml, 7)];
    for (file, text, line) in rows {
        let mut lab = Lab::new();
        lab.write(file, text);
        let update = lab.load();
        assert_eq!(changes(&update), ["+service default/a 10.0.0.1"], "{file}");
        assert_eq!(
            refusals(&update),
            [format!(
                "{file}:{line}: Service default/b: spec.ports[0].port: 0 is not between 1 and 65535"
            )]
        );
        lab.write(
            file,
            &text
                .replace("10.0.0.1", "10.0.0.9")
                .replace("port\": 0", "port\": 2")
                .replace("port: 0", "port: 2"),
        );
        assert_eq!(
            changes(&lab.load()),
            ["+service default/a 10.0.0.9", "+service default/b 10.0.0.2"],
            "{file}"
        );
        lab.write(file, &text.replace("10.0.0.1", "10.0.0.9"));
        assert_eq!(changes(&lab.load()), [""; 0], "{file}");
    }
}

#[test]
fn a_list_keeps_its_objects_whatever_else_it_says() {
    let with = |ip: &str, head: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "List", {head}"items": [{{"apiVersion": "v1", "kind": "Service",
            "metadata": {{"name": "a"}}, "spec": {{"clusterIP": "{ip}", "ports": [{{"port": 1}}]}}}}]}}"#
        )
    };
    let mut lab = Lab::new();
    lab.write("f.json", &with("10.0.0.1", ""));
    lab.load();
    for (ip, head) in [
        ("10.0.0.2", r#""metadata": null, "#),
        ("10.0.0.3", r#""metadata": {"name": 5}, "#),
        ("10.0.0.4", r#""metadata": {"name": "all"}, "#),
    ] {
        lab.write("f.json", &with(ip, head));
        let update = lab.load();
        let expected = format!("+service default/a {ip}");
        assert_eq!(changes(&update), [expected], "{head}");
        assert_eq!(refusals(&update), [""; 0], "{head}");
    }
    for body in [
        r#""item": []"#,
        r#""items": {}"#,
        r#""metadata": {"name": "all"}, "items": "none""#,
    ] {
        lab.write("f.json", &format!(r#"{{"kind": "List", {body}}}"#));
        let update = lab.load();
        assert_eq!(changes(&update), [""; 0], "{body}");
        assert_eq!(lab.source.refusals().count(), 1, "{body}");
    }
    // As Go writes an empty list.
    lab.write("f.json", r#"{"kind": "List", "items": null}"#);
    let update = lab.load();
    assert_eq!(changes(&update), ["-service default/a"]);
    assert_eq!(lab.source.refusals().count(), 0);
}

#[test]
fn only_what_changed_is_told() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2") + &slice("e", "a")),
    );
    let first = lab.load();
    assert!(
        first.node.is_some() && first.policy.is_some(),
        "the first update is complete"
    );
    assert!(lab.load().is_empty());
    lab.write(
        "f.yaml",
        &(service("b", "10.0.0.2") + "# moved\n" + &slice("e", "b") + &service("a", "10.0.0.1")),
    );
    assert_eq!(changes(&lab.load()), ["+slice ns/e of b"]);
    lab.write("ignored.txt", "}");
    lab.write(".hidden.yaml", "}");
    lab.write("empty.yaml", "# nothing\n---\n\n---\n");
    lab.write("empty.json", " ");
    assert!(lab.load().is_empty());
    lab.write("bad.yaml", "kind: Pod");
    assert_eq!(lab.load().refusals.len(), 1);
    lab.write("other.yaml", &service("c", "10.0.0.3"));
    let update = lab.load();
    assert_eq!(
        (changes(&update).len(), update.refusals.len()),
        (1, 0),
        "a refusal is told once"
    );
}

#[test]
fn json_documents_may_follow_each_other_and_stand_in_yaml_files() {
    let one = |name: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}}, "spec": {{"clusterIP": "10.0.0.1", "ports": [{{"port": 1}}]}}}}"#
        )
    };
    let mut lab = Lab::new();
    lab.write(
        "a.json",
        &format!("\u{feff}{}\n{}{}", one("a"), one("b"), one("c")),
    );
    lab.write(
        "b.yaml",
        &format!("{}\n---\r\n{}\n--- {}\n", one("d"), one("e"), one("f")),
    );
    let update = lab.load();
    assert_eq!((refusals(&update), update.services.len()), (vec![], 6));
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: sluice.dev/v1alpha1\nkind: ServiceProxyPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

#[test]
fn a_policy_that_selects_the_node_and_does_not_count_is_told_once() {
    let mut lab = Lab::new();
    lab.write("low.yaml", &policy("low", "{priority: 1}"));
    assert_eq!(refusals(&lab.load()), [""; 0]);
    lab.write("high.yaml", &policy("high", "{priority: 2}"));
    let elsewhere = "{priority: 3, nodeSelector: {matchLabels: {pool: other}}}";
    lab.write("other.yaml", &policy("other", elsewhere));
    let told = refusals(&lab.load());
    assert_eq!(told.len(), 1, "{told:?}");
    for word in [
        "low.yaml",
        "ServiceProxyPolicy low",
        "spec.priority",
        "high selects the same nodes",
    ] {
        assert!(told[0].contains(word), "{word}: {told:?}");
    }
    assert_eq!(refusals(&lab.load()), [""; 0], "told already");
    lab.remove("high.yaml");
    assert_eq!(lab.load().settled.len(), 1);
}

#[test]
fn the_policy_with_the_highest_priority_that_selects_the_node_counts() {
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {pool: edge}}\n";
    let mut lab = Lab::new();
    let mark_bit = |update: &Update| {
        update
            .policy
            .as_ref()
            .map(|policy| policy.source_nat.mark_bit)
    };
    lab.write(
        "p.yaml",
        &policy("low", "{priority: 1, sourceNAT: {markBit: 1}}"),
    );
    assert_eq!(mark_bit(&lab.load()), Some(1));
    lab.write(
        "q.yaml",
        &policy(
            "edge",
            "{priority: 9, nodeSelector: {matchLabels: {pool: edge}}, sourceNAT: {markBit: 9}}",
        ),
    );
    assert_eq!(mark_bit(&lab.load()), None, "the node has no such label");
    lab.write("node.yaml", node);
    assert_eq!(mark_bit(&lab.load()), Some(9));
    lab.write(
        "q.yaml",
        &policy("edge", "{priority: 9, sourceNAT: {markBit: 99}}"),
    );
    assert_eq!(mark_bit(&lab.load()), None, "the last good one stays");
    lab.write(
        "q.yaml",
        &policy("also-low", "{priority: 1, sourceNAT: {markBit: 2}}"),
    );
    assert_eq!(
        mark_bit(&lab.load()),
        Some(2),
        "of equals the first by name"
    );
    lab.remove("p.yaml");
    lab.remove("q.yaml");
    assert_eq!(
        mark_bit(&lab.load()),
        Some(14),
        "what the agent was started with"
    );
}

#[test]
fn a_missing_directory_is_an_error_and_changes_nothing() {
    let mut lab = Lab::new();
    lab.write("f.yaml", &service("a", "10.0.0.1"));
    lab.load();
    let (here, there) = (
        lab.directory.path().to_owned(),
        lab.directory.path().with_extension("moved"),
    );
    fs::rename(&here, &there).unwrap();
    let error = lab.source.load().unwrap_err();
    assert!(matches!(error, ManifestError::Missing { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "manifest directory {} does not exist: create it, or name another one",
            here.display()
        )
    );
    fs::rename(&there, &here).unwrap();
    assert!(lab.load().is_empty());
}
