//! IPv6 duplicate address detection of pods whose frames come back to them.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::attach::Pod;

use crate::bridged::{add, bridge, hairpin_is_on};
use crate::node;

/// Waits until no address is looked for any more, and gives all that failed.
fn failed_detections(pod: &Pod) -> String {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let shown = pod
            .namespace
            .command("ip -6 -o addr show dev eth0 tentative");
        let shown = shown.unwrap();
        let looking = |line: &str| !line.contains("dadfailed");
        if !shown.lines().any(looking) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Attaches a pod whose kernel has `enhanced_dad` as told, and gives it one more address.
fn attached(enhanced: &str, by_the_plugin: bool) -> String {
    let node = node();
    let pod = Pod::new("web").unwrap();
    for scope in ["all", "default"] {
        let path = format!("net/ipv6/conf/{scope}/enhanced_dad");
        pod.namespace.sysctl(&path, enhanced).unwrap();
    }
    let plugins = if by_the_plugin {
        vec![bridge(&node), node.sluice(&json!({}))]
    } else {
        vec![bridge(&node)]
    };
    let chain = node.chain("1.0.0", plugins);
    let (result, _) = add(&chain, &pod);
    if !by_the_plugin {
        let port = crate::bridged::host_interface(&result);
        let line = format!("bridge link set dev {port} hairpin on");
        node.namespace().command(&line).unwrap();
    }
    assert!(hairpin_is_on(&node, &result));
    // The plugin `bridge` has switched detection off where the kernel's pods would not know their own questions.
    pod.namespace
        .sysctl("net/ipv6/conf/eth0/accept_dad", "1")
        .unwrap();
    // Its detection runs while the port gives frames back.
    pod.namespace
        .command("ip addr add fd00:99::aaaa/112 dev eth0")
        .unwrap();
    failed_detections(&pod)
}

#[test]
fn detection_does_not_fail_because_of_hairpin() {
    assert_eq!(attached("1", true), "");
    assert_eq!(attached("0", true), "");
    // That the flag alone does make it fail there shows that the above says something.
    let failed = attached("0", false);
    assert!(failed.contains("fd00:99::aaaa"), "{failed}");
}
