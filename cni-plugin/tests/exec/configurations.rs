//! Configurations: each wrong one is refused by a sentence that names the field and says what to change.

use crate::call::{Call, chained, conf};

#[test]
fn input_that_is_no_object_cannot_be_decoded() {
    for text in [
        "",
        " ",
        "null",
        "7",
        "\"x\"",
        "[]",
        "{",
        "{\"cniVersion\":",
        "{}{}",
        "{\"a\":1,}",
        "\0",
        "{'a':1}",
        "\u{feff}{}",
        "{\"cniVersion\":\"1.0.0\"} x",
    ] {
        for verb in ["ADD", "DEL", "VERSION"] {
            Call::new(verb, text).refused(text, 6, "");
        }
    }
}

#[test]
fn fields_that_nobody_reads_are_refused_by_name_and_value() {
    for (field, value) in [
        ("sockett", "\"/x\""),
        ("Socket", "\"/x\""),
        ("hairpinMode", "true"),
        ("plugins", "[]"),
        ("", "1"),
    ] {
        let call = Call::new("ADD", conf("1.0.0", &format!(",{field:?}:{value}")));
        let told = call.refused(field, 2, field);
        assert!(told.contains(value), "{told}");
    }
    let inner = r#","withoutAgent":{"sourceNat":"Preserve"}"#;
    Call::new("ADD", conf("1.0.0", inner)).refused("inner", 2, "withoutAgent.sourceNat");
    let standard = r#","args":{},"capabilities":{"bandwidth":true},"runtimeConfig":{"x":1},"cniVersions":["1.0.0"],"dns":{},"cni.dev/attachments":[]"#;
    Call::new("ADD", conf("1.0.0", standard)).refused("standard", 7, "prevResult is missing");
}

#[test]
fn values_of_another_type_are_refused_by_what_they_must_be() {
    for (field, must_be) in [
        (r#""socket":7"#, "socket must be an absolute path"),
        (r#""socket":"run/x""#, "socket must be an absolute path"),
        (r#""socket":null"#, "socket must be"),
        (r#""socket":"/a\u0000b""#, "socket must be"),
        (
            r#""stateDirectory":"""#,
            "stateDirectory must be an absolute path",
        ),
        (r#""stateDirectory":["/x"]"#, "stateDirectory must be"),
        (r#""agentTimeoutMilliseconds":0"#, "from 1 to 10000"),
        (r#""agentTimeoutMilliseconds":-1"#, "from 1 to 10000"),
        (r#""agentTimeoutMilliseconds":10001"#, "from 1 to 10000"),
        (r#""agentTimeoutMilliseconds":1.5"#, "from 1 to 10000"),
        (r#""agentTimeoutMilliseconds":"300""#, "from 1 to 10000"),
        (r#""agentTimeoutMilliseconds":1e999"#, "from 1 to 10000"),
        (
            r#""requireAgent":"true""#,
            "requireAgent must be true or false",
        ),
        (r#""requireAgent":1"#, "requireAgent must be true or false"),
        (r#""statusGate":"yes""#, "statusGate must be true or false"),
        (r#""withoutAgent":"None""#, "withoutAgent must be an object"),
        (r#""withoutAgent":[]"#, "withoutAgent must be an object"),
        (
            r#""withoutAgent":{"hairpin":"hairpinVeth"}"#,
            "HairpinVeth or None",
        ),
        (
            r#""withoutAgent":{"hairpin":"PromiscuousBridge"}"#,
            "no pod reaches itself by a promiscuous bridge",
        ),
        (r#""withoutAgent":{"hairpin":true}"#, "HairpinVeth or None"),
        (
            r#""withoutAgent":{"sourceNAT":"SNAT"}"#,
            "Default, Preserve or Masquerade",
        ),
        (
            r#""withoutAgent":{"sourceNAT":null}"#,
            "Default, Preserve or Masquerade",
        ),
    ] {
        Call::new("ADD", conf("1.1.0", &format!(",{field}"))).refused(field, 7, must_be);
    }
    for (text, field) in [
        (r#"{"cniVersion":"1.0.0"}"#, "name"),
        (r#"{"cniVersion":"1.0.0","name":7}"#, "name"),
        (r#"{"cniVersion":"1.0.0","name":"../x"}"#, "name"),
        (r#"{"cniVersion":"1.0.0","name":""}"#, "name"),
        (r#"{"cniVersion":1.0,"name":"x"}"#, "cniVersion"),
        (r#"{"cniVersion":null,"name":"x"}"#, "cniVersion"),
    ] {
        Call::new("ADD", text).refused(text, 7, field);
    }
}

#[test]
fn a_pod_can_be_removed_with_any_configuration() {
    let directory = tempfile::tempdir().unwrap();
    for more in [
        r#","sockett":1"#,
        r#","agentTimeoutMilliseconds":"x""#,
        r#","withoutAgent":7"#,
        r#","prevResult":7"#,
        r#","name":"..""#,
    ] {
        let call = Call::new("DEL", chained("1.0.0", directory.path(), more));
        assert_eq!(call.succeeds(more), "");
    }
    let socket = directory.path().join("none");
    let socket = socket.to_str().unwrap();
    let bare =
        format!(r#"{{"cniVersion":"0.4.0","stateDirectory":{socket:?},"socket":{socket:?}}}"#);
    Call::new("DEL", bare).succeeds("without a name");
}

#[test]
fn attachments_that_are_not_understood_remove_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for list in [
        "null",
        "7",
        "{}",
        "[7]",
        "[{}]",
        r#"[{"containerID":"a"}]"#,
        r#"[{"containerID":"a","ifname":7}]"#,
        r#"[{"containerID":"a","ifname":"eth0"},{"containerId":"b","ifname":"eth0"}]"#,
    ] {
        let more = format!(r#","cni.dev/valid-attachments":{list}"#);
        let call = Call::new("GC", chained("1.1.0", directory.path(), &more));
        call.refused(list, 7, "cni.dev/valid-attachments");
    }
    let none = Call::new("GC", chained("1.1.0", directory.path(), ""));
    none.refused("none", 7, "cni.dev/valid-attachments is missing");
}
