//! Clock jumps: `CLOCK_REALTIME` can be set for the whole machine only (time namespaces shift the other clocks), so no test
//! sets it; instead one test makes sure that nothing but reports reads it, and one moves the monotonic clock.

use std::path::Path;
use std::time::Duration;

use sluice_e2e::lab::Lab;
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, A2, A3};
use sluice_e2e::skip::skip;
use sluice_kernel::iptables::Variant;

use crate::node::{AGENT, agent, cluster, eventually, manifest, reach, start};

#[test]
fn a_monotonic_clock_that_jumps_ahead_and_back_between_two_starts_changes_nothing() {
    if !Path::new("/proc/self/ns/time").exists() {
        skip(
            "a monotonic clock that jumps",
            "this kernel has no time namespaces",
        );
        return;
    }
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    let offset = agent.path("offset");
    let script = format!(
        "exec unshare --time --fork --kill-child --monotonic $(cat {}) {AGENT} \"$@\"",
        offset.display()
    );
    agent.wrap(&script).unwrap();
    // Three years ahead, then back before the first start.
    for (seconds, endpoint) in [("0", A1), ("100000000", A2), ("0", A3)] {
        std::fs::write(&offset, seconds).unwrap();
        start(&mut agent, &lab);
        agent.write("s1.yaml", &manifest(1, &[endpoint])).unwrap();
        let took = eventually("the change is in force", &agent, |_| {
            reach(&lab, cluster(1)).endpoint() == Some(endpoint.name)
        });
        assert!(
            took < stretched(Duration::from_secs(20)),
            "it took {took:?}"
        );
        assert!(agent.is_healthy(lab.node()).unwrap());
        agent.kill().unwrap();
    }
}

#[test]
fn only_reports_read_the_clock_that_can_be_set() {
    // What the agent says of itself: when it synced, how old its process is, log lines.
    // And how old a file is: one that seems to be of the future is read again.
    let may = [
        "health/state.rs",
        // How long ago an endpoint changed, by the clock of whoever wrote it down.
        "agent/intake.rs",
        "agent/sync_loop/books.rs",
        "metrics/mod.rs",
        "metrics/sync.rs",
        "metrics/process.rs",
        "source/manifests/directory.rs",
        // Since when a condition is so, for people.
        "source/cluster/status.rs",
    ];
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node-agent/src");
    let mut directories = vec![sources.clone()];
    let mut readers = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let reads = [
                    "SystemTime",
                    "Timestamp::now",
                    "Zoned::now",
                    "CLOCK_REALTIME",
                ];
                if reads.iter().any(|clock| text.contains(clock)) {
                    readers.push(path.strip_prefix(&sources).unwrap().display().to_string());
                }
            }
        }
    }
    readers.retain(|file| !may.contains(&file.as_str()));
    assert_eq!(
        readers, [""; 0],
        "pacing, back-off and health go by the monotonic clock"
    );
}
