//! The iptables door against the real programs and kernel, in namespaces of its own.

#![allow(clippy::expect_used, clippy::panic)] // Helpers of tests fail as tests do.

mod behaviour;
#[path = "../namespace/mod.rs"]
mod namespace;
mod programs;
mod spelling;
mod stamp;

use std::time::Duration;

use sluice_kernel::iptables::{Family, Iptables, IptablesPrograms, Table, Variant, try_variant};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The variants that this kernel has, for both families. One that is missing is reported.
fn usable_variants() -> Vec<Variant> {
    let sample = "*filter\nCOMMIT\n*nat\nCOMMIT\n*mangle\nCOMMIT\n";
    let usable = |variant: &Variant| {
        let tried = FAMILIES
            .iter()
            .try_for_each(|family| try_variant(*variant, *family, sample));
        tried
            .as_ref()
            .inspect_err(|e| namespace::skip(&format!("iptables {variant}: {e}")))
            .is_ok()
    };
    [Variant::Legacy, Variant::Nft]
        .into_iter()
        .filter(usable)
        .collect()
}

fn open(variant: Variant) -> IptablesPrograms {
    // The xtables lock is the machine's, and other tests hold it too.
    let patience = Duration::from_secs(60);
    IptablesPrograms::open(variant)
        .expect("both variants are installed")
        .with_limits(patience, patience)
}

fn rules(door: &mut dyn Iptables, family: Family, table: Table, chain: &str) -> Vec<String> {
    let saved = door
        .save(family, table, &|name| name == chain)
        .expect("a listing");
    saved
        .chain(chain)
        .unwrap_or_else(|| panic!("no chain {chain}"))
        .rules
        .clone()
}
