//! Faults: what is in force keeps serving, health tells the truth, and everything comes right again by itself.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod clock;
mod drift;
mod families;
mod ipvs;
mod kills;
mod manifests;
mod node;
mod restores;
