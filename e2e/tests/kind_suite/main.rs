//! Sluice as users install it: `helm install` in a cluster of kind, and what must then be true of Services, policies, restarts
//! and the end. The scenarios follow one another in one cluster; arguments run those whose sentence contains one of them.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod burst;
mod changes;
mod installing;
mod ipvs;
mod lab;
mod moving;
mod nodes;
mod others;
mod plugin;
mod policies;
mod ports;
mod services;
mod sources;
mod uninstalling;
mod watching;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use lab::Lab;
use sluice_e2e::skip::skip;

/// What must be true, and how it is tried. What it makes, it removes where others would notice.
type Scenario = (&'static str, fn(&Lab) -> anyhow::Result<()>);

/// In this order; the ones in the middle are independent of each other, and after the last ones the cluster is as it was at first.
const FIRST: &[Scenario] = &[
    (
        "pods of different nodes reach each other before there is any Service proxy",
        lab::pods_reach_each_other,
    ),
    (
        "helm install has every node Programmed within a minute",
        installing::helm_install,
    ),
];
const MIDDLE: [&[Scenario]; 9] = [
    services::SERVED,
    services::LEFT_ALONE,
    ports::SCENARIOS,
    sources::SCENARIOS,
    policies::SCENARIOS,
    // After policies have moved nodes between variants of iptables: what is compared is where the agent is.
    plugin::SCENARIOS,
    changes::SCENARIOS,
    burst::SCENARIOS,
    nodes::SCENARIOS,
];
const LAST: &[Scenario] = &[
    (
        "rules and settings of others on the nodes are untouched",
        others::are_untouched,
    ),
    (
        "after cleanup and helm uninstall nothing of Sluice is left but its definitions",
        uninstalling::nothing_is_left,
    ),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let started = Instant::now();
    if let Some(reason) = lab::missing() {
        skip("the kind suite", &reason);
        return ExitCode::SUCCESS;
    }
    let lab = match Lab::up() {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("there is no cluster: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let chosen = |scenarios: &[Scenario]| {
        let is_wanted = |(sentence, _): &&Scenario| {
            let mut words = wanted.iter();
            wanted.is_empty() || words.any(|words| sentence.contains(words.as_str()))
        };
        let chosen: Vec<Scenario> = scenarios.iter().filter(is_wanted).copied().collect();
        chosen
    };
    let scenarios = if sluice_e2e::packets::ipvs::is_promised() {
        // The others have been tried without.
        [
            FIRST,
            &chosen(ipvs::SCENARIOS),
            &[ipvs::BEFORE_THE_END],
            LAST,
        ]
    } else {
        [
            FIRST,
            &chosen(&MIDDLE.concat()),
            LAST,
            &chosen(moving::SCENARIOS),
        ]
    };
    let mut failed = Vec::new();
    for (sentence, scenario) in scenarios.concat() {
        if !holds(&lab, sentence, scenario) {
            failed.push(sentence);
            if FIRST.iter().any(|(first, _)| *first == sentence) {
                break;
            }
        }
    }
    eprintln!("{:6.1} s  the kind suite", started.elapsed().as_secs_f64());
    drop(lab);
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("FAILED: {}", failed.join("; "));
    ExitCode::FAILURE
}

/// Tries it, and tells how that went; of a failure it keeps all there is to know.
fn holds(lab: &Lab, sentence: &str, scenario: fn(&Lab) -> anyhow::Result<()>) -> bool {
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| scenario(lab)));
    let took = started.elapsed().as_secs_f64();
    let reason = match result {
        Ok(Ok(())) => {
            eprintln!("{took:6.1} s  ok      {sentence}");
            return true;
        }
        Ok(Err(error)) => format!("{error:#}"),
        // The panic has said why.
        Err(_) => "panicked".to_owned(),
    };
    eprintln!("{took:6.1} s  FAILED  {sentence}: {reason}");
    let name: String = sentence
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("kind")
        .join(name);
    match lab.cluster.tell_everything(&directory) {
        Ok(()) => eprintln!("          see {}", directory.display()),
        Err(error) => eprintln!("          and nothing more is known: {error}"),
    }
    false
}
