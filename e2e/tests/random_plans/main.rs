//! Random clusters that change, and random packets: what `trace` says must be what the real kernel does.
//!
//! Each case is a lab of its own: a cluster is programmed, then changed step by step, and after each step packets are sent.
//! `SLUICE_SECONDS` says for how long (60 unless told). With a `SLUICE_SEED` the cases are always the same, and `SLUICE_CASES` says how many,
//! however fast the machine is; what fails prints both.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod packets;
mod worlds;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sluice_e2e::lab::places::{LOCAL_PODS, NODE, NODE_BRIDGE};
use sluice_e2e::lab::{Outcome, Probe};
use sluice_e2e::packets::Row;
use sluice_e2e::packets::kernel::NodeUnderTest;
use sluice_e2e::packets::oracle;
use sluice_e2e::packets::planes::{LEGACY, NFT, PlaneUnderTest};
use sluice_e2e::packets::row::{Expect, Packet, Scene, Source};
use sluice_service_plan::model::Family;
use sluice_service_plan::trace::FrontendIndex;

use packets::{Judgement, Shot, shots};
use worlds::{Change, World, changes, worlds};

/// Probes to see each endpoint's source address with.
const FOR_SOURCES: usize = 16;

/// Cases of a seed that is told: a slow machine runs them in a minute.
const CASES: u64 = 40;

/// A cluster, and steps of changes with the packets that follow them.
type Case = (World, Vec<(Vec<Change>, Vec<Shot>)>);

/// How many packets met which verdict.
type Tally = BTreeMap<&'static str, usize>;

#[test]
fn iptables_legacy_does_to_random_packets_what_the_trace_says() {
    kernel_and_trace_agree(&LEGACY);
}

#[test]
fn iptables_nft_does_to_random_packets_what_the_trace_says() {
    kernel_and_trace_agree(&NFT);
}

fn kernel_and_trace_agree(plane: &PlaneUnderTest) {
    if !plane.runs_here() {
        return;
    }
    let end =
        Instant::now() + Duration::from_secs(from_environment("SLUICE_SECONDS").unwrap_or(60));
    let seed_told = from_environment("SLUICE_SEED");
    let seed = seed_told.unwrap_or_else(clock);
    let cases_told = from_environment("SLUICE_CASES").or(seed_told.map(|_| CASES));
    eprintln!("[{}] SLUICE_SEED={seed}", plane.name);
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 200,
        max_shrink_time: 40_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let mut runner = TestRunner::new_with_rng(config, rng);
    let steps = vec((vec(changes(), 0..4), vec(shots(), 8..14)), 3..6);
    let cases = (worlds(), steps);
    let tally = RefCell::new(Tally::new());
    let mut done = 0;
    while cases_told.map_or_else(|| Instant::now() < end, |cases| done < cases) {
        let case = cases.new_tree(&mut runner).unwrap();
        let outcome = runner.run_one(case, |case| run(plane, case, &mut tally.borrow_mut()));
        done += 1;
        if let Err(error) = outcome {
            panic!(
                "[{}] SLUICE_SEED={seed} SLUICE_CASES={done}: {error}",
                plane.name
            );
        }
    }
    let tally = tally.into_inner();
    eprintln!("[{}] {done} clusters, packets: {tally:?}", plane.name);
    assert!(tally.contains_key("reaches"), "no packet reached anybody");
}

/// Runs a case in a lab of its own.
fn run(
    plane: &PlaneUnderTest,
    (mut world, steps): Case,
    tally: &mut Tally,
) -> Result<(), TestCaseError> {
    let mut node = NodeUnderTest::start(plane).unwrap();
    let mut sent = Vec::new();
    for (step, (changes, shots)) in steps.into_iter().enumerate() {
        for change in &changes {
            world.change(change);
        }
        let scene = Scene {
            settings: world.settings.clone(),
            services: world.services.clone(),
            slices: world.slices.clone(),
            ..Scene::empty()
        };
        let plan = oracle::plan(&scene);
        let index = FrontendIndex::new(&plan);
        for packet in shots.iter().filter_map(|shot| shot.packet(&plan)) {
            let Some(judgement) = Judgement::of(&packet, &index, &plan) else {
                continue;
            };
            *tally.entry(kind(&judgement.expect)).or_default() += 1;
            let row = scene.row(&sentence(&packet), packet, judgement.expect.clone());
            let wrong = match node.check(&row).unwrap() {
                Some(wrong) => Some(format!(
                    "{}\n  expected: {}\n  trace: {}",
                    wrong.got, wrong.expected, wrong.trace
                )),
                None => wrong_source(&node, &row, &judgement),
            };
            if let Some(wrong) = wrong {
                let kernel = kernel(plane, &node, &row);
                let name = &row.name;
                let sent = sent.join("\n  ");
                return Err(TestCaseError::fail(format!(
                    "{name}\n  got: {wrong}\nbefore:\n  {sent}\n{plan:#?}\n{kernel}"
                )));
            }
            sent.push(format!("step {step}: {}: {}", row.name, row.expect));
        }
    }
    let left = node.finish().unwrap();
    prop_assert!(left.is_empty(), "at the end: {left:#?}");
    Ok(())
}

fn sentence(packet: &Packet) -> String {
    let senders = packet
        .from
        .iter()
        .map(|from| from.ip(Family::of(packet.to.ip())).to_string());
    format!(
        "{} to {}",
        senders.collect::<Vec<_>>().join(", "),
        packet.to
    )
}

fn kind(expect: &Expect) -> &'static str {
    match expect {
        Expect::Reaches(..) | Expect::Splits(..) => "reaches",
        Expect::Sticks(..) => "sticks",
        Expect::Rejected => "rejected",
        Expect::Dropped => "dropped",
        Expect::NotOurs(_) | Expect::Leaves(..) => "not ours",
    }
}

/// Sends the packet again, and compares the source that each endpoint saw with what it must see.
fn wrong_source(node: &NodeUnderTest, row: &Row, judgement: &Judgement) -> Option<String> {
    if judgement.sources.is_empty() {
        return None;
    }
    let Packet { from, protocol, to } = &row.packet;
    let client = from[0].ip(Family::of(to.ip()));
    let probes = vec![Probe::new(*protocol, Some(client), *to); FOR_SOURCES];
    let outcomes = node.lab().probe_all(&from[0], probes).unwrap();
    let wrong = outcomes.into_iter().find(|outcome| {
        let Outcome::Reached {
            endpoint,
            port,
            source,
        } = outcome
        else {
            return true;
        };
        let mut expected = judgement.sources.iter();
        let expected = expected.find(|((name, at), _)| name == endpoint && at == port);
        expected.is_none_or(|(_, expected)| !is_source(source.ip(), client, endpoint, expected))
    });
    wrong.map(|outcome| format!("{outcome}\n  expected sources: {:?}", judgement.sources))
}

fn is_source(seen: IpAddr, client: IpAddr, endpoint: &str, expected: &Source) -> bool {
    let on_the_way = if LOCAL_PODS.iter().any(|pod| pod.name == endpoint) {
        NODE_BRIDGE
    } else {
        NODE
    };
    match expected {
        Source::Kept => seen == client,
        Source::Masqueraded | Source::MasqueradedPorts(_) => {
            seen == on_the_way.ip(Family::of(seen))
        }
        Source::Snat(addresses) => addresses.contains(&seen),
        Source::Unstated => true,
    }
}

/// What the kernel holds (after the repair that [`NodeUnderTest::check`] tried).
fn kernel(plane: &PlaneUnderTest, node: &NodeUnderTest, row: &Row) -> String {
    let program = if row.packet.to.is_ipv4() {
        plane.programs.v4
    } else {
        plane.programs.v6
    };
    let commands = [format!("{program}-save"), "ipset list".to_owned()];
    commands
        .map(|command| node.lab().node().command(&command).unwrap())
        .concat()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn clock() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
