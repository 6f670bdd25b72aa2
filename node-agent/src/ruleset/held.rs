//! What the kernel holds of ours in one table, as its listing says.

use std::collections::HashMap;

use sluice_kernel::iptables::{Family, Iptables, IptablesError, Listed, Table, canonical};

use super::chain::Digest;
use super::table::{PREFIX, is_built_in, target};

/// Our chains and the jumps to them. The rules themselves are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Our chains by name.
    pub(super) chains: HashMap<Box<str>, HeldChain>,
    /// Rules in built-in chains that lead to a chain of ours: chain and rule.
    pub(super) jumps: Vec<(String, String)>,
}

/// One chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldChain {
    /// Digest of its rules in canonical form.
    pub(super) digest: u64,
    /// Number of rules.
    pub(super) rules: u32,
}

impl Held {
    /// Asks the kernel.
    pub(super) fn list(
        iptables: &mut dyn Iptables,
        family: Family,
        table: Table,
    ) -> Result<Self, IptablesError> {
        let mut chains: HashMap<Box<str>, (Digest, u32)> = HashMap::new();
        let mut jumps = Vec::new();
        iptables.list(family, table, &mut |item| match item {
            Listed::Chain(name) if name.starts_with(PREFIX) => {
                chains.insert(name.into(), (Digest::new(), 0));
            }
            Listed::Chain(_) => {}
            Listed::Rule { chain, rule } => {
                if let Some((digest, rules)) = chains.get_mut(chain) {
                    digest.add(&canonical(rule));
                    *rules += 1;
                } else if is_built_in(chain) && target(rule).is_some() {
                    jumps.push((chain.to_owned(), canonical(rule).into_owned()));
                }
            }
        })?;
        let chains = chains.into_iter().map(|(name, (digest, rules))| {
            let digest = digest.value();
            (name, HeldChain { digest, rules })
        });
        Ok(Self {
            chains: chains.collect(),
            jumps,
        })
    }
}
