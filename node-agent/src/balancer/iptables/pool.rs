//! How one pool of endpoints becomes rules: spread at random by weight, remember clients.

use std::collections::BTreeMap;

use sluice_service_plan::plan::{Endpoint, Pool, PortPlan};

use super::names;
use crate::ruleset::{Chain, ChainTable, random_share, stable_hash};

/// A pool of at most so many endpoints, without affinity, has no chain: its rules stand where they are used.
const INLINE: usize = 8;

/// A pool of more endpoints is split, so that a packet meets few rules and a change rewrites few.
const SPLIT: usize = 32;

/// Endpoints of one part of a split pool, on average half to all of it.
const GROUP: u64 = 16;

/// Puts the chains that a pool needs; none for a small one.
pub(super) fn put_chains(table: &mut ChainTable, port: &PortPlan, pool: Pool) {
    let endpoints = port.pool(pool);
    if is_inline(port, endpoints) {
        return;
    }
    let mut chain = Chain::new(names::pool(&port.key, pool));
    if port.affinity_seconds.is_some() {
        for endpoint in endpoints.iter() {
            put_endpoint(table, port, endpoint);
            let set = names::affinity_set(&port.key, endpoint);
            chain.lead(
                &format!("-m set --match-set {set} src"),
                "-g",
                &names::endpoint(&port.key, endpoint),
            );
        }
    }
    if endpoints.len() > SPLIT {
        spread_groups(table, &mut chain, port, pool);
    } else {
        spread(&mut chain, "", port, endpoints.iter());
    }
    table.put(chain);
}

/// Appends to `chain` the rules that send what `matches` to the pool. `matches` names the protocol, or is empty.
pub(super) fn send(chain: &mut Chain, matches: &str, port: &PortPlan, pool: Pool) {
    let endpoints = port.pool(pool);
    if is_inline(port, endpoints) {
        spread(chain, matches, port, endpoints.iter());
    } else {
        chain.lead(matches, "-g", &names::pool(&port.key, pool));
    }
}

fn is_inline(port: &PortPlan, endpoints: &[Endpoint]) -> bool {
    endpoints.is_empty() || (port.affinity_seconds.is_none() && endpoints.len() <= INLINE)
}

/// Remembers the client, then translates.
fn put_endpoint(table: &mut ChainTable, port: &PortPlan, endpoint: &Endpoint) {
    let mut chain = Chain::new(names::endpoint(&port.key, endpoint));
    let set = names::affinity_set(&port.key, endpoint);
    chain.rule(format_args!("-j SET --add-set {set} src --exist"));
    chain.rule(format_args!(
        "-p {} -j DNAT --to-destination {}",
        port.key.protocol, endpoint.address
    ));
    table.put(chain);
}

fn spread<'a>(
    chain: &mut Chain,
    matches: &str,
    port: &PortPlan,
    endpoints: impl Iterator<Item = &'a Endpoint> + Clone,
) {
    let mut rest: u64 = endpoints
        .clone()
        .map(|endpoint| u64::from(endpoint.weight))
        .sum();
    let protocol = format!("-p {}", port.key.protocol);
    let matches = if matches.is_empty() {
        &protocol
    } else {
        matches
    };
    for endpoint in endpoints {
        let weight = u64::from(endpoint.weight);
        let share = random_share(weight, rest);
        rest -= weight;
        if port.affinity_seconds.is_some() {
            chain.lead(
                share.trim_start(),
                "-g",
                &names::endpoint(&port.key, endpoint),
            );
        } else {
            chain.rule(format_args!(
                "{matches}{share} -j DNAT --to-destination {}",
                endpoint.address
            ));
        }
    }
}

/// Parts by a hash of the endpoint: one endpoint's coming or going touches its part and the list of parts.
fn spread_groups(table: &mut ChainTable, chain: &mut Chain, port: &PortPlan, pool: Pool) {
    let endpoints = port.pool(pool);
    let mask = (endpoints.len() as u64 / GROUP).next_power_of_two() - 1;
    let mut groups: BTreeMap<u64, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints.iter() {
        let hash = stable_hash(&[endpoint.address.to_string().as_bytes()]);
        groups.entry(hash & mask).or_default().push(endpoint);
    }
    let total = |group: &[&Endpoint]| {
        group
            .iter()
            .map(|endpoint| u64::from(endpoint.weight))
            .sum::<u64>()
    };
    let mut rest: u64 = groups.values().map(|group| total(group)).sum();
    for (index, group) in &groups {
        let name = names::group(&port.key, pool, *index);
        let mut part = Chain::new(name.as_str());
        spread(&mut part, "", port, group.iter().copied());
        table.put(part);
        let weight = total(group);
        chain.lead(random_share(weight, rest).trim_start(), "-g", &name);
        rest -= weight;
    }
}
