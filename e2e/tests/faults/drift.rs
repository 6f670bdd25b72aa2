//! Somebody edits rules and sets of ours, or fills the sets.

use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::A1;
use sluice_kernel::iptables::Variant;

use crate::node::{
    LOOK, agent, assert_found_at_a_look, assert_nothing_lost, assert_within, cluster, eventually,
    is_served, load, manifest, node_port, plane, reach, start,
};

#[test]
fn a_set_that_is_full_is_mended_and_what_is_in_force_keeps_serving() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
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

/// The longest that the agent rests between two comparisons where nothing tells of changes.
const LONGEST_BLIND_REST: Duration = Duration::from_secs(60);

/// What somebody may do to our rules, as arguments of iptables. The chain is the first that every packet meets.
fn edits(variant: Variant) -> [String; 5] {
    let by_ipvs = plane(variant).is_some_and(|plane| plane.ipvs.is_some());
    let chain = if by_ipvs {
        "SLUICE-IPVS"
    } else {
        "SLUICE-SERVICES"
    };
    [
        format!("-t nat -F {chain}"),
        format!("-t nat -I {chain} 1 -d 10.96.0.1 -j RETURN"),
        "-t nat -F PREROUTING".to_owned(),
        "-t filter -F".to_owned(),
        "-t nat -F".to_owned(),
    ]
}

#[test]
fn rules_that_somebody_edits_are_back_at_once_where_the_kernel_tells() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    start(&mut agent, &lab);
    let mut times = Vec::new();
    for edit in edits(Variant::Nft) {
        let repairs = repairs(&agent, &lab);
        lab.node()
            .command(&format!("iptables-nft -w {edit}"))
            .unwrap();
        let took = repaired_since(&agent, &lab, repairs);
        eprintln!("{edit}: {took:?}");
        times.push(took);
        // The next notice is not followed before a rest.
        sleep(stretched(Duration::from_millis(500)));
    }
    let before = repairs(&agent, &lab);
    // As a firewall does it that puts its own table in the place of what is there.
    lab.node()
        .program("iptables-nft-restore", &[], "*nat\nCOMMIT\n")
        .unwrap();
    times.push(repaired_since(&agent, &lab, before));
    // Without a notice, nothing compares rules within the hour. Each is followed after a rest of ten times as long as the comparison before
    // took, which on a busy machine may be seconds.
    let fastest = times.into_iter().min().unwrap();
    assert_within(LOOK / 2, fastest, "the fastest repair");
    an_entry_is_deleted_and_comes_back(&agent, &lab);
}

/// Nothing tells of changes of sets, whatever the variant.
fn an_entry_is_deleted_and_comes_back(agent: &AgentProcess, lab: &Lab) {
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
    assert_found_at_a_look(took, entry);
    assert!(is_served(lab, cluster(1)));
    assert!(agent.is_healthy(lab.node()).unwrap());
}

#[test]
fn rules_and_sets_that_somebody_edits_are_back_after_a_few_seconds_where_nothing_tells() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Legacy) else {
        return;
    };
    start(&mut agent, &lab);
    for edit in edits(Variant::Legacy) {
        let before = repairs(&agent, &lab);
        lab.node()
            .command(&format!("iptables-legacy -w {edit}"))
            .unwrap();
        let took = repaired_since(&agent, &lab, before);
        assert_within(2 * LONGEST_BLIND_REST, took, &edit);
        assert!(is_served(&lab, cluster(1)), "{edit}");
    }
    an_entry_is_deleted_and_comes_back(&agent, &lab);
}

pub(crate) fn repairs(agent: &AgentProcess, lab: &Lab) -> f64 {
    agent
        .metric(lab.node(), "sluice_drift_repairs_total")
        .unwrap()
}

/// Waits for more repairs than there were, and for a kernel that holds what it should: what goes bit by bit may be found by halves.
pub(crate) fn repaired_since(agent: &AgentProcess, lab: &Lab, so_far: f64) -> Duration {
    let took = eventually("the repair is counted", agent, |agent| {
        repairs(agent, lab) > so_far
    });
    eventually("the kernel is as it should be", agent, |agent| {
        agent.difference(lab.node()).unwrap().is_empty()
    });
    took
}
