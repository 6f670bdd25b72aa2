//! Classes of pods that cannot work.

use crate::problems;

/// The rows of a list, and everything that is wrong with it.
const INVALID: &[(&str, &[&str])] = &[
    (
        r#"{"name": "A", "action": "Preserve", "snat": {"addressCIDRs": []}}"#,
        &[
            "[0].name: \"A\" is not a name of a class: use 1 to 63 lower-case letters, digits and dashes, the first and the last no dash",
            "[0].snat: it belongs to action SNAT, and action is Preserve: remove it, or change action",
            "[0].snat.addressCIDRs: the list is empty: add networks of the node's addresses, or change action to Masquerade",
        ],
    ),
    (
        r#"{"name": "sluice-a", "action": "SNAT"}"#,
        &[
            "[0].name: \"sluice-a\" starts with sluice-, which is reserved: choose another name",
            "[0].snat: action SNAT needs it: add it",
        ],
    ),
    (
        r#"{"name": "a", "action": "SNAT", "snat": {"addressCIDRs": ["::/0", "::/0"]}, "outInterface": "a b"}"#,
        &[
            "[0].snat.addressCIDRs[1]: ::/0 is in the list already: remove one",
            "[0].snat.addressCIDRs[0]: ::/0 holds every address: list narrower networks",
            "[0].snat.addressCIDRs[1]: ::/0 holds every address: list narrower networks",
            "[0].outInterface: \"a b\" is not an interface name: use 1 to 15 letters, digits, dots, dashes or underscores",
        ],
    ),
    (
        r#"{"name": "a", "action": "Preserve"}, {"name": "a", "podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}, "action": "Masquerade"}"#,
        &[
            "[1].podSelector.matchExpressions[0].values: operator In needs at least one value",
            "[1].name: a is in the list already: remove one",
            "[0]: without selectors it matches every pod, so the rows after it never count: make it the last one",
        ],
    ),
    (
        r#"{"name": "a", "action": "Preserve", "sysctls": [{"name": "net.ipv4.tcp_rmem", "value": ""}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}"#,
        &[
            "[0].sysctls[0].value: \"\" is not a value: write numbers or words, separated by blanks",
            "[0].sysctls[1].name: net.ipv4.tcp_rmem is in the list already: remove one",
        ],
    ),
];

#[test]
fn classes_that_cannot_work_are_named_with_what_to_change() {
    for (rows, expected) in INVALID {
        let expected: Vec<String> = expected
            .iter()
            .map(|one| format!("spec.sourceNAT.podClasses{one}"))
            .collect();
        let spec = format!(r#"{{"sourceNAT": {{"podClasses": [{rows}]}}}}"#);
        assert_eq!(problems(&spec), expected, "{rows}");
    }
}

#[test]
fn only_tunables_of_a_namespace_may_be_set_in_pods() {
    let problems = |name: &str| {
        problems(&format!(
            r#"{{"sourceNAT": {{"podClasses": [{{"name": "a", "action": "Preserve", "sysctls": [{{"name": "{name}", "value": "1"}}]}}]}}}}"#
        ))
    };
    for name in [
        "net.core.somaxconn",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_rmem",
        "net.ipv6.bindv6only",
    ] {
        assert_eq!(problems(name), [""; 0], "{name}");
    }
    for name in [
        "net.core.rmem_max",
        "net.ipv4.tcp_",
        "net.ipv4.tcp_mem",
        "net.ipv4.tcp_max_orphans",
        "net.ipv4.tcp_a.b",
        "net.ipv4.udp_mem",
        "kernel.panic",
        "",
    ] {
        let found = problems(name);
        let start = format!(
            "spec.sourceNAT.podClasses[0].sysctls[0].name: {name:?} may not be set in a pod: use one of net.core.somaxconn, "
        );
        assert!(
            found.len() == 1 && found[0].starts_with(&start),
            "{found:?}"
        );
    }
}
