//! The measure: `iptables-restore` fed with the same text, by the same runner, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_kernel::address_set::{AddressSets, IpsetNetlink, SetSpec};
use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, IptablesPrograms, Listed, Stamp, Table, Variant,
};

use super::BenchError;
use crate::lab::Namespace;

/// Texts that were restored, in order.
#[derive(Debug, Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<(Family, String)>>>);

impl Tape {
    /// What was recorded since the last time.
    pub fn take(&self) -> Vec<(Family, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A door that keeps a copy of what goes through it.
#[derive(Debug)]
pub struct Recording {
    door: IptablesPrograms,
    tape: Tape,
}

impl Recording {
    /// Opens the door of a variant.
    pub fn open(variant: Variant, tape: Tape) -> Result<Self, IptablesError> {
        Ok(Self {
            door: IptablesPrograms::open(variant)?,
            tape,
        })
    }
}

impl Iptables for Recording {
    fn variant(&self) -> Variant {
        self.door.variant()
    }

    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        self.tape
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((family, input.to_owned()));
        self.door.restore(family, input)
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        self.door.list(family, table, on_item)
    }

    fn stamp(&mut self) -> Option<Stamp> {
        self.door.stamp()
    }

    fn programs_started(&self) -> u64 {
        self.door.programs_started()
    }

    fn bytes_written(&self) -> u64 {
        self.door.bytes_written()
    }
}

/// Restores texts in a new namespace that is empty but for sets as the calling thread's namespace has them. Says how long the
/// restores took, and leaves the namespace to the caller.
pub fn from_empty(
    variant: Variant,
    texts: Vec<(Family, String)>,
) -> Result<(Duration, Namespace), BenchError> {
    let specs: Vec<SetSpec> = IpsetNetlink::open()?
        .headers("SLUICE-")?
        .into_iter()
        .map(|header| header.spec)
        .collect();
    let namespace = Namespace::new("bare")?;
    let took = namespace.run(move || {
        let mut sets = IpsetNetlink::open()?;
        for mut spec in specs {
            spec.expected_entries = 64;
            sets.create(&spec)?;
        }
        restore(variant, &texts)
    })??;
    Ok((took, namespace))
}

/// Restores texts in the calling thread's namespace, and says how long it took.
pub fn restore(variant: Variant, texts: &[(Family, String)]) -> Result<Duration, BenchError> {
    let mut door = IptablesPrograms::open(variant)?;
    let start = Instant::now();
    for (family, text) in texts {
        door.restore(*family, text)?;
    }
    Ok(start.elapsed())
}

/// A text that deletes chains cannot be restored twice.
pub fn is_repeatable(texts: &[(Family, String)]) -> bool {
    !texts.is_empty() && texts.iter().all(|(_, text)| !text.contains("\n-X "))
}
