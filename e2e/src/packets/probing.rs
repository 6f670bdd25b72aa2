//! Probes a row often enough to know, and compares what happened with what it expects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_service_plan::model::Family;

use super::row::{Expect, Packet, Row, Source, Target, Untouched};
use crate::lab::places::{LOCAL_PODS, NODE, NODE_BRIDGE, Place, ROUTER};
use crate::lab::{Lab, LabError, Outcome, Probe};

/// Probes where each must end the same way.
const FEW: usize = 3;
/// Probes in flight at a time.
const BATCH: usize = 16;
/// Probes for an endpoint that does not show up, by the inverse of its share: it stays unseen by chance once in 10^13 runs.
const MOST: usize = 30;
/// Probes for shares: 3:1 instead of 1:1 is seen for certain.
const FOR_SHARES: usize = 288;
/// Chi-square that two to five shares exceed once in a million runs at most.
const CHI_SQUARE: f64 = 33.0;

/// Probes a row in a lab. `None` when everything is as expected, else what happened.
pub fn observe(lab: &Lab, row: &Row) -> Result<Option<String>, LabError> {
    let wrong = match &row.expect {
        Expect::Reaches(targets, source) => reaches(lab, row, targets, source)?,
        Expect::Sticks(targets, source) => sticks(lab, row, targets, source)?,
        Expect::Splits(shares, source) => splits(lab, row, shares, source)?,
        Expect::Rejected | Expect::NotOurs(Untouched::Refused) => all(lab, row, &Outcome::Refused)?,
        Expect::Dropped | Expect::NotOurs(Untouched::Filtered) => {
            all(lab, row, &Outcome::TimedOut)?
        }
        Expect::NotOurs(Untouched::Routed) => answers(lab, row, ROUTER.name)?,
        Expect::NotOurs(Untouched::Has(name)) => answers(lab, row, name)?,
        Expect::Leaves(name, source) => answers_as(lab, row, name, source)?,
    };
    Ok(wrong)
}

/// Runs `count` probes, turn by turn from each sender of the row.
fn probe(lab: &Lab, row: &Row, count: usize) -> Result<Vec<Outcome>, LabError> {
    probe_as(lab, row, count, |probe| probe)
}

fn probe_as(
    lab: &Lab,
    row: &Row,
    count: usize,
    adapt: impl Fn(Probe) -> Probe,
) -> Result<Vec<Outcome>, LabError> {
    let Some(first) = row.packet.from.first() else {
        return Ok(Vec::new());
    };
    let Packet { protocol, to, .. } = row.packet;
    let family = Family::of(to.ip());
    let senders = row.packet.from.iter().cycle().take(count);
    let probes = senders.map(|from| adapt(Probe::new(protocol, Some(from.ip(family)), to)));
    lab.probe_all(first, probes.collect())
}

/// A few probes that must all end so.
fn all(lab: &Lab, row: &Row, expected: &Outcome) -> Result<Option<String>, LabError> {
    let outcomes = match expected {
        Outcome::TimedOut => probe_as(lab, row, FEW, Probe::expecting_silence)?,
        _ => probe(lab, row, FEW)?,
    };
    let right = outcomes.iter().all(|outcome| outcome == expected);
    Ok((!right).then(|| summary(&outcomes)))
}

/// A few probes that this server must answer, ours or not.
fn answers(lab: &Lab, row: &Row, name: &str) -> Result<Option<String>, LabError> {
    let outcomes = probe(lab, row, FEW)?;
    let right = outcomes
        .iter()
        .all(|outcome| outcome.endpoint() == Some(name));
    Ok((!right).then(|| summary(&outcomes)))
}

/// A few probes that this server must answer, and see with this source.
fn answers_as(
    lab: &Lab,
    row: &Row,
    name: &str,
    source: &Source,
) -> Result<Option<String>, LabError> {
    let outcomes = probe(lab, row, FEW)?;
    let right = outcomes
        .iter()
        .all(|outcome| outcome.endpoint() == Some(name) && source_is_right(row, outcome, source));
    Ok((!right).then(|| summary(&outcomes)))
}

fn reaches(
    lab: &Lab,
    row: &Row,
    targets: &[Target],
    source: &Source,
) -> Result<Option<String>, LabError> {
    let expected: BTreeSet<Target> = targets.iter().copied().collect();
    let mut outcomes = Vec::new();
    let enough = enough_to_miss_nobody(row);
    while outcomes.len() < most(row, targets) {
        let batch = BATCH.min(enough).max(row.packet.from.len());
        outcomes.extend(probe(lab, row, batch)?);
        if stranger(row, &outcomes, targets, source).is_some() {
            break;
        }
        if outcomes.len() >= enough && reached(&outcomes) == expected {
            return Ok(None);
        }
    }
    Ok(Some(summary(&outcomes)))
}

/// The first probe alone: those that come at the same time from a client not seen before may be told apart.
fn sticks(
    lab: &Lab,
    row: &Row,
    targets: &[Target],
    source: &Source,
) -> Result<Option<String>, LabError> {
    let mut outcomes = probe(lab, row, 1)?;
    outcomes.extend(probe(lab, row, BATCH)?);
    let wrong =
        stranger(row, &outcomes, targets, source).is_some() || reached(&outcomes).len() != 1;
    Ok(wrong.then(|| summary(&outcomes)))
}

fn splits(
    lab: &Lab,
    row: &Row,
    shares: &[(Target, u16)],
    source: &Source,
) -> Result<Option<String>, LabError> {
    let targets: Vec<Target> = shares.iter().map(|(target, _)| *target).collect();
    let mut outcomes = Vec::new();
    while outcomes.len() < FOR_SHARES {
        outcomes.extend(probe(lab, row, BATCH)?);
    }
    if stranger(row, &outcomes, &targets, source).is_some() {
        return Ok(Some(summary(&outcomes)));
    }
    let total: u32 = shares.iter().map(|(_, weight)| u32::from(*weight)).sum();
    let chi_square: f64 = shares
        .iter()
        .map(|(target, weight)| {
            let seen = outcomes
                .iter()
                .filter(|outcome| target_of(outcome) == Some(*target))
                .count();
            let seen = f64::from(u32::try_from(seen).unwrap_or(u32::MAX));
            let probes = f64::from(u32::try_from(outcomes.len()).unwrap_or(u32::MAX));
            let expected = probes * f64::from(*weight) / f64::from(total);
            (seen - expected).powi(2) / expected
        })
        .sum();
    let wrong = chi_square > CHI_SQUARE;
    Ok(wrong.then(|| format!("chi-square {chi_square:.1}: {}", summary(&outcomes))))
}

/// Probes for an endpoint that has the least weight among those with the most.
fn most(row: &Row, targets: &[Target]) -> usize {
    let weights = &row.scene.settings.endpoint_weights;
    let heaviest = weights.iter().map(|row| row.weight).max();
    MOST * targets.len() * usize::from(heaviest.unwrap_or(1).max(1))
}

/// Four probes for each endpoint that might be reached by mistake.
fn enough_to_miss_nobody(row: &Row) -> usize {
    let endpoints = row.scene.slices.iter().flat_map(|slice| &slice.endpoints);
    let addresses: BTreeSet<IpAddr> = endpoints.map(|endpoint| endpoint.address).collect();
    (4 * addresses.len()).clamp(3, BATCH)
}

/// An outcome that must not be, however often one probes.
fn stranger<'a>(
    row: &Row,
    outcomes: &'a [Outcome],
    targets: &[Target],
    source: &Source,
) -> Option<&'a Outcome> {
    outcomes.iter().find(|outcome| {
        !target_of(outcome).is_some_and(|target| targets.contains(&target))
            || !source_is_right(row, outcome, source)
    })
}

fn target_of(outcome: &Outcome) -> Option<Target> {
    let Outcome::Reached { endpoint, port, .. } = outcome else {
        return None;
    };
    let place = super::oracle::places().find(|place| place.name == endpoint)?;
    Some((place.name, *port))
}

fn reached(outcomes: &[Outcome]) -> BTreeSet<Target> {
    outcomes.iter().filter_map(target_of).collect()
}

fn source_is_right(row: &Row, outcome: &Outcome, expected: &Source) -> bool {
    let Outcome::Reached {
        endpoint, source, ..
    } = outcome
    else {
        return false;
    };
    let family = Family::of(source.ip());
    let on_the_way = || on_the_way_to(endpoint).ip(family) == source.ip();
    match expected {
        Source::Kept => row
            .packet
            .from
            .iter()
            .any(|from| from.ip(family) == source.ip()),
        Source::Masqueraded => on_the_way(),
        Source::Snat(addresses) => addresses.contains(&source.ip()),
        Source::MasqueradedPorts(ports) => on_the_way() && ports.contains(&source.port()),
        Source::Unstated => true,
    }
}

/// The node's address that a packet to this endpoint is masqueraded with.
fn on_the_way_to(endpoint: &str) -> Place {
    if LOCAL_PODS.iter().any(|pod| pod.name == endpoint) {
        NODE_BRIDGE
    } else {
        NODE
    }
}

/// Outcomes and how often each was seen, source ports apart.
fn summary(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.to_string()).or_default() += 1;
    }
    let list: Vec<String> = counts
        .iter()
        .map(|(outcome, count)| format!("{count} x {outcome}"))
        .collect();
    list.join(", ")
}
