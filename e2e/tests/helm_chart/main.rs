//! What the chart renders: as committed, with the properties that every rendering has, and which values it refuses with which sentence.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod properties;
mod refusals;
mod rendering;
mod snapshots;
mod values;
