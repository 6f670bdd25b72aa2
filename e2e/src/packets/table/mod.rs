//! The rows, by subject.

mod affinity;
mod claims;
mod frontends;
mod hairpin;
mod masquerade;
mod node_ports;
mod pod_classes;
mod policies;
mod refusals;
mod selection;
mod slices;
mod source_ranges;
mod surroundings;
mod topology;
mod usability;

use super::Row;

/// Every row whose name holds the text of the environment variable `SLUICE_CASE`; all if it is not set. With a number in
/// `SLUICE_SHUFFLE` they come in another order, the same for the same number: other transitions are tested.
pub fn rows() -> Vec<Row> {
    let wanted = std::env::var("SLUICE_CASE").unwrap_or_default();
    let mut rows = [
        frontends::rows(),
        node_ports::rows(),
        usability::rows(),
        slices::rows(),
        policies::rows(),
        topology::rows(),
        masquerade::rows(),
        pod_classes::rows(),
        hairpin::rows(),
        source_ranges::rows(),
        affinity::rows(),
        refusals::rows(),
        claims::rows(),
        selection::rows(),
        surroundings::rows(),
    ]
    .concat();
    rows.retain(|row| row.name.contains(&wanted));
    if let Some(seed) = std::env::var("SLUICE_SHUFFLE")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        shuffle(&mut rows, seed);
    }
    rows
}

fn shuffle(rows: &mut [Row], seed: u64) {
    // SplitMix64 and Fisher-Yates.
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap_or_default()
    };
    for last in (1..rows.len()).rev() {
        rows.swap(last, random() % (last + 1));
    }
}
