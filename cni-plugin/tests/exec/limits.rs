//! Input that is huge or deep ends in an error soon, without a crash.

use std::time::{Duration, Instant};

use crate::call::{Call, chained, conf};

fn soon(begin: Instant) {
    assert!(
        begin.elapsed() < Duration::from_secs(120),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn deep_nests_crash_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(300_000), "}".repeat(300_000));
    for nest in [&deep, &objects] {
        Call::new("ADD", nest.as_str()).refused("all of it", if nest == &deep { 6 } else { 1 }, "");
        let args = conf("1.0.0", &format!(r#","args":{nest}"#));
        Call::new("ADD", args).refused("args", 7, "prevResult is missing");
        let ips = conf("1.0.0", &format!(r#","prevResult":{{"ips":{nest}}}"#));
        Call::new("ADD", ips).refused("ips", 7, "ips");
        let unknown = format!(r#","prevResult":{{"cniVersion":"1.0.0","later":{nest}}}"#);
        Call::new("ADD", conf("1.0.0", &unknown)).refused("unknown", 4, "not-there");
        let removed = chained("1.0.0", directory.path(), &format!(r#","x":{nest}"#));
        Call::new("DEL", removed).succeeds("removed");
    }
    Call::new("ADD", "[".repeat(4_000_000)).refused("never closed", 6, "");
    soon(begin);
}

#[test]
fn huge_input_is_not_read_to_its_end() {
    let begin = Instant::now();
    let huge = conf("1.0.0", &format!(r#","args":"{}""#, "x".repeat(9_000_000)));
    for verb in ["ADD", "DEL", "GC", "VERSION"] {
        Call::new(verb, huge.clone()).refused(verb, 6, "longer than");
    }
    let long = conf("1.0.0", &format!(r#","{}":1"#, "x".repeat(1_000_000)));
    Call::new("ADD", long).refused("a long field", 2, "xxx");
    let value = conf("1.0.0", &format!(r#","x":"{}""#, "y".repeat(1_000_000)));
    Call::new("ADD", value).refused("a long value", 2, "yyy");
    let version = conf(&"9".repeat(1_000_000), "");
    Call::new("ADD", version).refused("a long version", 1, "999");
    let address = format!(
        r#","prevResult":{{"ips":[{{"address":"{}"}}]}}"#,
        "1".repeat(1_000_000)
    );
    Call::new("ADD", conf("1.0.0", &address)).refused("a long address", 7, "111");
    soon(begin);
}

#[test]
fn ten_thousand_valid_attachments_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..10_000)
        .map(|n| format!(r#"{{"containerID":"{n:064}","ifname":"eth0"}}"#))
        .collect();
    let more = format!(r#","cni.dev/valid-attachments":[{}]"#, all.join(","));
    Call::new("GC", chained("1.1.0", directory.path(), &more)).succeeds("many");
}
