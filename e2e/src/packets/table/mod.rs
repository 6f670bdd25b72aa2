//! The rows, by subject.

mod affinity;
mod claims;
mod frontends;
mod hairpin;
mod masquerade;
mod node_ports;
mod policies;
mod refusals;
mod selection;
mod source_ranges;
mod surroundings;
mod topology;
mod usability;

use super::Row;

/// Every row whose name holds the text of the environment variable `SLUICE_CASE`; all if it is not set.
pub fn rows() -> Vec<Row> {
    let wanted = std::env::var("SLUICE_CASE").unwrap_or_default();
    let mut rows = [
        frontends::rows(),
        node_ports::rows(),
        usability::rows(),
        policies::rows(),
        topology::rows(),
        masquerade::rows(),
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
    rows
}
