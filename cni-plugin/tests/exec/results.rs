//! Results of the plugins before.

use crate::call::{Call, conf};

#[test]
fn results_that_are_none_are_refused() {
    let many = (0..70)
        .map(|n| format!(r#"{{"address":"10.0.0.{n}/24"}}"#))
        .collect::<Vec<_>>()
        .join(",");
    let many = format!(r#"{{"ips":[{many}]}}"#);
    let cases: [(&str, u64, &str); 23] = [
        ("null", 7, "prevResult is missing"),
        ("7", 7, "prevResult"),
        ("[]", 7, "prevResult"),
        (r#""x""#, 7, "prevResult"),
        (r#"{"cniVersion":7}"#, 7, "cniVersion"),
        (r#"{"cniVersion":"0.2.0"}"#, 1, "0.2.0"),
        (r#"{"cniVersion":"9"}"#, 1, "9"),
        (r#"{"ips":7}"#, 7, "ips"),
        (r#"{"ips":{}}"#, 7, "ips"),
        (r#"{"ips":[7]}"#, 7, "ips"),
        (r#"{"ips":[{}]}"#, 7, "ips"),
        (r#"{"ips":[{"address":7}]}"#, 7, "ips"),
        (r#"{"ips":[{"address":"10.0.0.1"}]}"#, 7, "10.0.0.1"),
        (r#"{"ips":[{"address":"10.0.0.1/33"}]}"#, 7, "10.0.0.1/33"),
        (
            r#"{"ips":[{"address":"10.0.0.1/24; reboot"}]}"#,
            7,
            "reboot",
        ),
        (r#"{"ips":[{"address":"0.0.0.0/0"}]}"#, 7, "0.0.0.0/0"),
        (r#"{"ips":[{"address":"127.0.0.1/8"}]}"#, 7, "127.0.0.1/8"),
        (r#"{"ips":[{"address":"ff02::1/128"}]}"#, 7, "ff02::1/128"),
        (
            r#"{"ips":[{"address":"10.0.0.1/24","interface":3}]}"#,
            7,
            "interface 3",
        ),
        (
            r#"{"ips":[{"address":"10.0.0.1/24","interface":-1}]}"#,
            7,
            "interface -1",
        ),
        (r#"{"interfaces":[7]}"#, 7, "interfaces"),
        (r#"{"interfaces":[{"name":7}]}"#, 7, "interfaces"),
        (&many, 7, "more than 64"),
    ];
    for (result, code, text) in cases {
        for verb in ["ADD", "CHECK"] {
            let case = format!("{verb} {}", &result[..result.len().min(80)]);
            let call = Call::new(verb, conf("1.0.0", &format!(r#","prevResult":{result}"#)));
            call.refused(&case, code, text);
        }
    }
    let none = Call::new("ADD", conf("1.0.0", ""));
    none.refused("none", 7, "sluice-cni must come after a main plugin");
}
