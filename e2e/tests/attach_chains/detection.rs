//! IPv6 duplicate address detection of pods whose frames come back to them.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::attach::{Pod, Verb};

use crate::bridged::{add, bridge, hairpin_is_on};
use crate::node;

/// Waits until no address is looked for any more, and gives all that failed.
fn failed_detections(pod: &Pod) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
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

/// The agent switches the flag on where a record says so, at any moment.
#[test]
fn an_attachment_is_recorded_when_detection_is_over_and_the_flag_is_on() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let (result, _) = add(&node.chain("1.0.0", vec![bridge(&node)]), &pod);
    for (path, value) in [
        ("all/enhanced_dad", "0"),
        ("eth0/enhanced_dad", "0"),
        ("eth0/accept_dad", "1"),
        ("eth0/dad_transmits", "2"),
    ] {
        let path = format!("net/ipv6/conf/{path}");
        pod.namespace.sysctl(&path, value).unwrap();
    }
    let own = node.sluice(&json!({}));
    let chain = node.chain("1.0.0", Vec::new());
    let (command, conf) = chain.command(Verb::Add, &own, &pod, &result);
    let looked_for = "ip addr add fd00:99::aaaa/112 dev eth0";
    pod.namespace.command(looked_for).unwrap();
    let mut plugin = node.namespace().start(command).unwrap().unwrap();
    let mut stdin = plugin.stdin.take().unwrap();
    stdin.write_all(conf.as_bytes()).unwrap();
    drop(stdin);
    let began = Instant::now();
    while plugin.try_wait().unwrap().is_none() {
        // In this order: what comes between the two looks is no fault.
        if !node.remembered().unwrap().is_empty() {
            assert!(hairpin_is_on(&node, &result), "{:?}", began.elapsed());
        }
    }
    let ended = plugin.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(node.remembered().unwrap(), ["web:eth0.json"]);
    assert_eq!(failed_detections(&pod), "");
}
