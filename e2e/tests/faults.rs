//! Faults: what is in force keeps serving, health tells the truth, and everything comes right again by itself.
//!
//! Clock jumps: `CLOCK_REALTIME` can be set for the whole machine only (time namespaces shift the other clocks), so no test
//! sets it; instead one test makes sure that nothing but reports reads it, and one moves the monotonic clock.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::iptables_plane::{Doors, IptablesPlane};
use sluice_e2e::changes::{ServedNode, lost};
use sluice_e2e::faults::{FaultyAgent, replace};
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, NODE, Place, ROUTER};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::build::{all_ready, web};
use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::conntrack::ConntrackNetlink;
use sluice_kernel::iptables::{Family as KernelFamily, IptablesError, IptablesPrograms, Variant};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// Time that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

const AGENT: &str = env!("CARGO_BIN_EXE_agent-under-test");

const NODE_MANIFEST: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.0.0/24, 'fd00:10:244::/64']}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.10}
  - {type: InternalIP, address: '2001:db8::10'}
";

/// Service number `n`: TCP on 10.96.0.`n`:80 and on node port 30000 + `n`.
fn manifest(n: u8, endpoints: &[Place]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|pod| format!("{{addresses: [{}]}}", pod.v4))
        .collect();
    let endpoints = endpoints.join(", ");
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: shop}}
spec:
  type: NodePort
  clusterIPs: [10.96.0.{n}]
  ports: [{{name: http, port: 80, nodePort: {}, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{n}-1, namespace: shop, labels: {{kubernetes.io/service-name: s{n}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{endpoints}]",
        30_000 + u32::from(n)
    )
}

fn cluster(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 0, n], 80))
}

fn node_port(n: u8) -> SocketAddr {
    SocketAddr::new(NODE.ip(Family::V4), 30_000 + u16::from(n))
}

fn variant_flags(variant: Variant) -> [&'static str; 2] {
    let name = match variant {
        Variant::Legacy => "legacy",
        Variant::Nft => "nft",
    };
    ["--iptables-variant", name]
}

fn agent(variant: Variant) -> FaultyAgent {
    let agent = FaultyAgent::new(Path::new(AGENT), &variant_flags(variant)).unwrap();
    agent.write("node.yaml", NODE_MANIFEST).unwrap();
    agent.write("s1.yaml", &manifest(1, &[A1, A2])).unwrap();
    agent
}

/// Starts it and waits until it is healthy.
fn start(agent: &mut FaultyAgent, lab: &Lab) {
    agent.start(lab.node()).unwrap();
    let is_up = |agent: &FaultyAgent| agent.is_healthy(lab.node()).unwrap();
    eventually("the agent is healthy", agent, is_up);
}

/// Waits until something is so; tells how long it took.
fn eventually(what: &str, agent: &FaultyAgent, is_so: impl Fn(&FaultyAgent) -> bool) -> Duration {
    let start = Instant::now();
    while !is_so(agent) {
        let waited = start.elapsed();
        assert!(
            waited < PATIENCE,
            "it never was so that {what}:\n{}",
            agent.log()
        );
        sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

fn load(lab: &Lab, to: SocketAddr) -> Load {
    let patience = Duration::from_millis(900);
    Load::new_connections(
        lab,
        Route {
            from: CLIENT,
            to,
            patience,
        },
        100,
    )
    .unwrap()
}

fn assert_nothing_lost(loads: Vec<Load>) {
    for load in loads {
        let report = load.stop();
        assert!(
            report.attempts.len() > 50,
            "too little load: {}",
            report.attempts.len()
        );
        let all = report.attempts.len();
        let failed = report.failures().len();
        let beyond = report
            .answers()
            .get(ROUTER.name)
            .copied()
            .unwrap_or_default();
        assert_eq!(beyond, 0, "connections were not translated");
        assert_eq!(lost(&report, |_| false), [""; 0], "{failed} of {all}");
    }
}

/// Whoever answers; what the node does not translate, the router answers.
fn reach(lab: &Lab, to: SocketAddr) -> Outcome {
    lab.probe(&CLIENT, &Probe::new(Protocol::Tcp, None, to))
        .unwrap()
}

#[test]
fn a_restore_that_fails_half_way_is_told_and_mended_and_what_is_in_force_keeps_serving() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Nft);
    let failing = agent.path("failing");
    // Takes all tables but the last, then refuses.
    let script = format!(
        "real=/usr/sbin/iptables-nft-restore
if [ -e {} ]; then
  tac | sed '1,/^\\*/d' | tac | $real \"$@\"
  echo 'iptables-restore: line 2 failed' >&2
  exit 1
fi
exec $real \"$@\"",
        failing.display()
    );
    agent
        .replace_program("iptables-nft-restore", &script)
        .unwrap();
    agent.write("s2.yaml", &manifest(2, &[])).unwrap();
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];

    File::create(&failing).unwrap();
    agent.write("s2.yaml", &manifest(2, &[A1])).unwrap();
    eventually("health says why", &agent, |agent| {
        let health = agent.health(lab.node()).unwrap();
        health.contains(" 503 ") && health.contains("line 2 failed")
    });
    sleep(Duration::from_millis(500));
    assert!(!agent.is_healthy(lab.node()).unwrap());
    assert!(
        agent
            .metric(lab.node(), "sluice_sync_failures_total")
            .unwrap()
            >= 1.0
    );

    std::fs::remove_file(&failing).unwrap();
    let took = eventually("it is healthy again", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    eprintln!("recovered in {took:?}");
    assert_eq!(reach(&lab, cluster(2)).endpoint(), Some(A1.name));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    assert_nothing_lost(loads);
}

#[test]
fn a_lock_that_another_process_holds_too_long_is_told_and_its_release_is_enough() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Legacy);
    let lock = agent.path("xtables.lock");
    agent.set_environment("XTABLES_LOCKFILE", &lock.display().to_string());
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1))];

    let held = Flock::lock(File::create(&lock).unwrap(), FlockArg::LockExclusive).unwrap();
    agent.write("s1.yaml", &manifest(1, &[A3])).unwrap();
    eventually("health says why", &agent, |agent| {
        let health = agent.health(lab.node()).unwrap();
        health.contains(" 503 ") && health.contains("held the xtables lock")
    });
    assert_ne!(reach(&lab, cluster(1)).endpoint(), Some(A3.name));
    drop(held);
    eventually("it is healthy again", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    assert_eq!(reach(&lab, cluster(1)).endpoint(), Some(A3.name));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    assert_nothing_lost(loads);
}

/// A pod answers.
fn is_served(lab: &Lab, to: SocketAddr) -> bool {
    let outcome = reach(lab, to);
    [A1, A2, A3, B1]
        .iter()
        .any(|pod| outcome.endpoint() == Some(pod.name))
}

/// Doors to this namespace's kernel.
fn doors(iptables: IptablesPrograms) -> Result<Doors, DataPlaneError> {
    Ok(Doors {
        iptables: Box::new(iptables),
        glue_sets: Box::new(IpsetNetlink::open()?),
        affinity_sets: Box::new(IpsetNetlink::open()?),
        conntrack: Box::new(ConntrackNetlink::open()?),
    })
}

#[test]
fn a_held_lock_is_an_error_of_its_own_and_a_reconcile_after_it_ends_right() {
    let lock = tempfile::NamedTempFile::new().unwrap();
    let file = lock.path().to_owned();
    let open = move || -> Result<Box<dyn DataPlane>, DataPlaneError> {
        let iptables = IptablesPrograms::open(Variant::Legacy)?
            .with_limits(Duration::from_secs(1), Duration::from_secs(20))
            .with_lock_file(&file);
        let families = [KernelFamily::V4, KernelFamily::V6];
        Ok(Box::new(IptablesPlane::new(doors(iptables)?, &families)))
    };
    let mut node = ServedNode::start(open, Settings::default()).unwrap();
    let service = web(Family::V4, Protocol::Tcp);
    let held = Flock::lock(lock.reopen().unwrap(), FlockArg::LockExclusive).unwrap();
    let error = node.serve(&service, &all_ready([A1])).unwrap_err();
    assert!(
        matches!(
            error,
            sluice_e2e::changes::ServedNodeError::Plane(DataPlaneError::Iptables(
                IptablesError::LockHeld { waited_seconds: 1 }
            ))
        ),
        "{error:?}"
    );
    drop(held);
    node.with_plane(|plane, plan| plane.reconcile(plan))
        .unwrap()
        .unwrap();
    assert_eq!(
        node.with_plane(|plane, _| plane.verify()).unwrap().unwrap(),
        []
    );
    assert_eq!(reach(node.lab(), cluster(10)).endpoint(), Some(A1.name));
}

#[test]
fn a_set_that_is_full_is_mended_and_what_is_in_force_keeps_serving() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Nft);
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];
    sleep(Duration::from_secs(1));
    // Each set of ours that takes a limit is exchanged for a copy that has room for what is in it, and no more.
    let saved = lab.node().command("ipset save").unwrap();
    let mut shrunk = Vec::new();
    for line in saved
        .lines()
        .filter(|line| line.starts_with("create SLUICE-4-"))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let name = words[1];
        let entries = saved.matches(&format!("add {name} ")).count();
        let Some(limit) = words.iter().position(|word| *word == "maxelem") else {
            continue;
        };
        if entries == 0 {
            continue;
        }
        let mut create = words.clone();
        let room = entries.to_string();
        (create[1], create[limit + 1]) = ("small", &room);
        lab.node()
            .command(&format!("ipset {}", create.join(" ")))
            .unwrap();
        for entry in saved
            .lines()
            .filter(|line| line.starts_with(&format!("add {name} ")))
        {
            let add = entry.replace(&format!("add {name} "), "add small ");
            lab.node().command(&format!("ipset {add}")).unwrap();
        }
        lab.node()
            .command(&format!("ipset swap small {name}"))
            .unwrap();
        lab.node().command("ipset destroy small").unwrap();
        shrunk.push(name);
    }
    eprintln!("made too small: {shrunk:?}");
    assert!(!shrunk.is_empty());
    for n in 2..6 {
        agent
            .write(&format!("s{n}.yaml"), &manifest(n, &[A1]))
            .unwrap();
    }
    eventually("the new services are served", &agent, |_| {
        (2..6).all(|n| reach(&lab, cluster(n)).endpoint() == Some(A1.name))
    });
    eventually("it is healthy", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    assert!(agent.log().contains("is full"), "{}", agent.log());
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    assert_nothing_lost(loads);
}

/// What somebody may do to our rules, as arguments of iptables.
const EDITS: [&str; 5] = [
    "-t nat -F SLUICE-SERVICES",
    "-t nat -I SLUICE-SERVICES 1 -d 10.96.0.1 -j RETURN",
    "-t nat -F PREROUTING",
    "-t filter -F",
    "-t nat -F",
];

#[test]
fn rules_that_somebody_edits_are_back_within_a_second_where_the_kernel_tells() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Nft);
    start(&mut agent, &lab);
    for edit in EDITS {
        let repairs = repairs(&agent, &lab);
        lab.node()
            .command(&format!("iptables-nft -w {edit}"))
            .unwrap();
        let took = repaired_since(&agent, &lab, repairs);
        eprintln!("{edit}: {took:?}");
        assert!(took < Duration::from_secs(1), "{edit}: it took {took:?}");
        // The next notice is not followed before a rest.
        sleep(Duration::from_millis(500));
    }
    let before = repairs(&agent, &lab);
    // As a firewall does it that puts its own table in the place of what is there.
    lab.node()
        .program("iptables-nft-restore", &[], "*nat\nCOMMIT\n")
        .unwrap();
    let took = repaired_since(&agent, &lab, before);
    eprintln!("the table is replaced: {took:?}");
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    an_entry_is_deleted_and_comes_back(&agent, &lab);
}

/// Nothing tells of changes of sets, whatever the variant.
fn an_entry_is_deleted_and_comes_back(agent: &FaultyAgent, lab: &Lab) {
    let saved = lab.node().command("ipset save").unwrap();
    let entry = saved
        .lines()
        .find(|line| line.starts_with("add SLUICE-4-"))
        .unwrap();
    let before = repairs(agent, lab);
    lab.node()
        .command(&entry.replacen("add", "ipset del", 1))
        .unwrap();
    let took = repaired_since(agent, lab, before);
    eprintln!("{entry}: {took:?}");
    assert!(took < Duration::from_secs(7), "it took {took:?}");
    assert!(is_served(lab, cluster(1)));
    assert!(agent.is_healthy(lab.node()).unwrap());
}

#[test]
fn rules_and_sets_that_somebody_edits_are_back_after_a_few_seconds_where_nothing_tells() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Legacy);
    start(&mut agent, &lab);
    for edit in [EDITS[0], EDITS[1], EDITS[2]] {
        lab.node()
            .command(&format!("iptables-legacy -w {edit}"))
            .unwrap();
    }
    let took = repaired_since(&agent, &lab, 0.0);
    eprintln!("rules: {took:?}");
    assert!(took < Duration::from_secs(7), "it took {took:?}");
    an_entry_is_deleted_and_comes_back(&agent, &lab);
}

fn repairs(agent: &FaultyAgent, lab: &Lab) -> f64 {
    agent
        .metric(lab.node(), "sluice_drift_repairs_total")
        .unwrap()
}

/// Waits for more repairs than there were, and for a kernel that holds what it should.
fn repaired_since(agent: &FaultyAgent, lab: &Lab, so_far: f64) -> Duration {
    let took = eventually("the repair is counted", agent, |agent| {
        repairs(agent, lab) > so_far
    });
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    took
}

/// A number below `bound`, from a sequence that is as good as random here.
fn next(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

fn killed_again_and_again(variant: Variant) {
    const KILLS: usize = 15;
    const SERVICES: u8 = 8;
    let lab = Lab::up().unwrap();
    let mut agent = agent(variant);
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];

    let stop = Arc::new(AtomicBool::new(false));
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let mut seed = u64::try_from(elapsed.as_micros()).unwrap();
    eprintln!("{variant}: seed {seed}");
    let (stopped, manifests, beside) = (stop.clone(), agent.path("manifests"), agent.path("other"));
    let mut edits_seed = seed ^ 0xff;
    let editor = std::thread::spawn(move || {
        let mut edits = 0;
        while !stopped.load(Ordering::Relaxed) {
            for n in 1..=SERVICES {
                // Service 1 always has an endpoint; the others come and go too.
                let pods = [A1, A2, A3, B1];
                let picked = usize::try_from(next(&mut edits_seed, 4)).unwrap();
                let some = if n == 1 {
                    &pods[picked..]
                } else {
                    &pods[..picked]
                };
                let file = manifests.join(format!("s{n}.yaml"));
                replace(&beside, &file, &manifest(n, some)).unwrap();
                edits += 1;
            }
            sleep(Duration::from_millis(5 + next(&mut edits_seed, 60)));
        }
        edits
    });
    for _ in 0..KILLS {
        sleep(Duration::from_millis(next(&mut seed, 400)));
        agent.kill().unwrap();
        agent.start(lab.node()).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let edits = editor.join().unwrap();
    eventually("it is healthy", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    eventually("the kernel is as it should be", &agent, |agent| {
        agent.difference(lab.node()).unwrap().is_empty()
    });
    eprintln!("{variant}: killed {KILLS} times during {edits} edits");
    assert_nothing_lost(loads);
}

#[test]
fn an_agent_that_is_killed_again_and_again_while_everything_changes_loses_nothing_with_nft() {
    killed_again_and_again(Variant::Nft);
}

#[test]
fn an_agent_that_is_killed_again_and_again_while_everything_changes_loses_nothing_with_legacy() {
    killed_again_and_again(Variant::Legacy);
}

#[test]
fn a_broken_manifest_stops_no_service_of_other_files_also_not_when_the_agent_starts_again() {
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Nft);
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];
    agent
        .write("s2.yaml", "kind: Service\nspec: {ports: [{port: eighty}]\n")
        .unwrap();
    eventually("the refusal is counted", &agent, |agent| {
        agent.metric(lab.node(), "sluice_refused_objects").unwrap() >= 1.0
    });
    agent.kill().unwrap();
    start(&mut agent, &lab);
    sleep(Duration::from_millis(500));
    agent.write("s2.yaml", &manifest(2, &[A3])).unwrap();
    eventually("the mended file is served", &agent, |_| {
        reach(&lab, cluster(2)).endpoint() == Some(A3.name)
    });
    assert_nothing_lost(loads);
}

#[test]
fn a_node_without_ipv6_serves_ipv4() {
    let lab = Lab::up().unwrap();
    for path in [
        "net/ipv6/conf/all/disable_ipv6",
        "net/ipv6/conf/default/disable_ipv6",
    ] {
        lab.node().sysctl(path, "1").unwrap();
    }
    let mut agent = agent(Variant::Nft);
    start(&mut agent, &lab);
    assert!(is_served(&lab, node_port(1)));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
}

#[test]
fn a_plane_for_ipv4_only_serves_ipv4_and_touches_nothing_of_ipv6() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let open = move || -> Result<Box<dyn DataPlane>, DataPlaneError> {
            let doors = doors(IptablesPrograms::open(variant)?)?;
            Ok(Box::new(IptablesPlane::new(doors, &[KernelFamily::V4])))
        };
        let mut node = ServedNode::start(open, Settings::default()).unwrap();
        let service = web(Family::V4, Protocol::Tcp)
            .cluster_ip("fd00:10:96::10".parse().unwrap())
            .affinity(60);
        node.serve(&service, &all_ready([A1, B1])).unwrap();
        assert!(is_served(node.lab(), cluster(10)));
        let node_thread = node.lab().node();
        let rules = node_thread
            .command(&format!("ip6tables-{variant}-save"))
            .unwrap();
        assert!(!rules.contains("SLUICE-"), "{rules}");
        let sets = node_thread.command("ipset list -n").unwrap();
        assert!(!sets.contains("SLUICE-6-"), "{sets}");
        node.serve(&service, &all_ready([A2])).unwrap();
        assert_eq!(reach(node.lab(), cluster(10)).endpoint(), Some(A2.name));
        assert_eq!(
            node.with_plane(|plane, _| plane.verify()).unwrap().unwrap(),
            []
        );
        assert!(
            node.with_plane(|plane, _| plane.remove())
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_monotonic_clock_that_jumps_ahead_and_back_between_two_starts_changes_nothing() {
    if !Path::new("/proc/self/ns/time").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this kernel should have time namespaces"
        );
        eprintln!("SKIP: this kernel has no time namespaces");
        return;
    }
    let lab = Lab::up().unwrap();
    let mut agent = agent(Variant::Nft);
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
        assert!(took < Duration::from_secs(2), "it took {took:?}");
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
        "metrics/sync.rs",
        "metrics/process.rs",
        "source/manifests/directory.rs",
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
