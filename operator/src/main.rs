//! `sluice-operator`.

fn main() {}
