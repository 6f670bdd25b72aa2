//! Address sets kept in memory: what the kernel does, without one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::{ALL_PORTS, check_entry, check_name, hash_size};
use super::{
    AddressSetError, AddressSets, Attachment, Entry, Family, ListedEntry, Mark, SetHeader, SetKind,
    SetSpec,
};
use crate::fault::PlannedFault;

/// The kernel's longest lifetime of an entry, in seconds (`IPSET_MAX_TIMEOUT`); longer ones are cut to it.
const MAX_TIMEOUT_SECONDS: u32 = (u32::MAX >> 1) / 1_000;

/// One call of the door, as [`MemorySets::operations`] records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `create`, with the set's name.
    Create(String),
    /// `destroy`.
    Destroy(String),
    /// `add`, `add_with_timeout` or `add_marked`, with the number of entries.
    Add(String, usize),
    /// `delete`, with the number of entries.
    Delete(String, usize),
    /// `swap`.
    Swap(String, String),
    /// `headers`, with the prefix.
    Headers(String),
    /// `list`.
    List(String),
}

/// The in-memory twin of [`IpsetNetlink`](super::IpsetNetlink). Clones share their sets: a test keeps one to look inside.
#[derive(Debug, Clone, Default)]
pub struct MemorySets {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sets: BTreeMap<String, Set>,
    /// Seconds since the beginning.
    now: u64,
    operations: Vec<Operation>,
    fault: PlannedFault<AddressSetError>,
}

#[derive(Debug)]
struct Set {
    spec: SetSpec,
    references: u32,
    entries: BTreeMap<Entry, Kept>,
}

/// What is kept of an entry besides its key.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Time of expiry; absent for an entry that stays.
    expiry: Option<u64>,
    mark: Option<Mark>,
}

impl MemorySets {
    /// No sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: u32) {
        let mut state = self.state();
        state.now += u64::from(seconds);
        let now = state.now;
        for set in state.sets.values_mut() {
            set.entries
                .retain(|_, kept| kept.expiry.is_none_or(|expiry| expiry > now));
        }
    }

    /// Sets how many rules refer to a set; one that does not exist stays so.
    pub fn set_references(&self, name: &str, references: u32) {
        if let Some(set) = self.state().sets.get_mut(name) {
            set.references = references;
        }
    }

    /// After `successes` more operations, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> AddressSetError) {
        self.state().fault.plan(successes, error);
    }

    /// All operations so far, those that failed too.
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// Forgets the operations so far.
    pub fn forget_operations(&self) {
        self.state().operations.clear();
    }

    /// A poisoned lock means that a test has failed already, and it may still want to look inside.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, AddressSetError> {
        let mut state = self.state();
        state.operations.push(operation);
        state.fault.pass()?;
        Ok(state)
    }

    fn add_all(
        &self,
        set: &SetSpec,
        entries: impl ExactSizeIterator<Item = (Entry, Attachment)> + Clone,
    ) -> Result<(), AddressSetError> {
        let mut state = self.begin(Operation::Add(set.name.clone(), entries.len()))?;
        entries
            .clone()
            .try_for_each(|(entry, _)| check_entry(set, &entry))?;
        let now = state.now;
        for (entry, attachment) in entries {
            state.matching(set)?.add(entry, attachment, now)?;
        }
        Ok(())
    }
}

impl State {
    fn set(&mut self, name: &str) -> Result<&mut Set, AddressSetError> {
        check_name(name)?;
        let missing = || AddressSetError::NotFound {
            name: name.to_owned(),
        };
        self.sets.get_mut(name).ok_or_else(missing)
    }

    /// The set, if it is of the kind and family that the caller believes.
    fn matching(&mut self, spec: &SetSpec) -> Result<&mut Set, AddressSetError> {
        let set = self.set(&spec.name)?;
        if alike(&set.spec, spec) {
            Ok(set)
        } else {
            let what = format!("it is a {} of family {:?}", set.spec.kind, set.spec.family);
            Err(AddressSetError::Mismatch {
                name: spec.name.clone(),
                what,
            })
        }
    }
}

impl Set {
    fn add(
        &mut self,
        entry: Entry,
        attachment: Attachment,
        now: u64,
    ) -> Result<(), AddressSetError> {
        let name = || self.spec.name.clone();
        let entry = entry.canonical();
        if attachment.mark.is_some() && !self.spec.marks {
            let what = format!("{entry:?}: the set was created without marks");
            return Err(AddressSetError::Mismatch { name: name(), what });
        }
        let seconds = match (attachment.timeout_seconds, self.spec.timeout_seconds) {
            (Some(_), None) => {
                let what = format!("{entry:?}: the set was created without timeouts");
                return Err(AddressSetError::Mismatch { name: name(), what });
            }
            (own, default) => own.or(default).unwrap_or(0).min(MAX_TIMEOUT_SECONDS),
        };
        let present = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        if present >= self.spec.max_entries && !self.entries.contains_key(&entry) {
            return Err(AddressSetError::Full {
                name: name(),
                entry: Some(entry),
            });
        }
        let expiry = (seconds > 0).then(|| now + u64::from(seconds));
        let none = Mark { value: 0, mask: 0 };
        let mark = attachment.mark.filter(|mark| *mark != none);
        self.entries.insert(entry, Kept { expiry, mark });
        Ok(())
    }
}

fn alike(one: &SetSpec, other: &SetSpec) -> bool {
    one.kind == other.kind && (one.kind == SetKind::BitmapPort || one.family == other.family)
}

impl AddressSets for MemorySets {
    fn create(&mut self, spec: &SetSpec) -> Result<(), AddressSetError> {
        let mut state = self.begin(Operation::Create(spec.name.clone()))?;
        check_name(&spec.name)?;
        if state.sets.contains_key(&spec.name) {
            return Err(AddressSetError::Exists {
                name: spec.name.clone(),
            });
        }
        let mut kept = SetSpec {
            expected_entries: hash_size(spec),
            ..spec.clone()
        };
        if kept.kind == SetKind::BitmapPort {
            kept.max_entries = ALL_PORTS;
            kept.family = Family::V4;
        }
        let set = Set {
            spec: kept,
            references: 0,
            entries: BTreeMap::new(),
        };
        state.sets.insert(spec.name.clone(), set);
        Ok(())
    }

    fn destroy(&mut self, name: &str) -> Result<(), AddressSetError> {
        let mut state = self.begin(Operation::Destroy(name.to_owned()))?;
        if state.set(name)?.references > 0 {
            return Err(AddressSetError::InUse {
                name: name.to_owned(),
            });
        }
        state.sets.remove(name);
        Ok(())
    }

    fn add(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        let plain = |entry: &Entry| (*entry, Attachment::default());
        self.add_all(set, entries.iter().map(plain))
    }

    fn add_with_timeout(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, u32)],
    ) -> Result<(), AddressSetError> {
        let timed = |(entry, seconds): &(Entry, u32)| (*entry, Attachment::lifetime(*seconds));
        self.add_all(set, entries.iter().map(timed))
    }

    fn add_marked(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, Mark)],
    ) -> Result<(), AddressSetError> {
        let marked = |(entry, mark): &(Entry, Mark)| (*entry, Attachment::mark(*mark));
        self.add_all(set, entries.iter().map(marked))
    }

    fn delete(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        let mut state = self.begin(Operation::Delete(set.name.clone(), entries.len()))?;
        entries
            .iter()
            .try_for_each(|entry| check_entry(set, entry))?;
        for entry in entries {
            state.matching(set)?.entries.remove(&entry.canonical());
        }
        Ok(())
    }

    /// References stay with the name, everything else changes its place.
    fn swap(&mut self, one: &str, other: &str) -> Result<(), AddressSetError> {
        let mut state = self.begin(Operation::Swap(one.to_owned(), other.to_owned()))?;
        let first = state.set(one)?.spec.clone();
        let second = state.set(other)?.spec.clone();
        if !alike(&first, &second) {
            let what = format!("it is no set like {other}");
            return Err(AddressSetError::Mismatch {
                name: one.to_owned(),
                what,
            });
        }
        if one == other {
            return Ok(());
        }
        let (Some(mut left), Some(mut right)) = (state.sets.remove(one), state.sets.remove(other))
        else {
            return Ok(());
        };
        std::mem::swap(&mut left.entries, &mut right.entries);
        left.spec = SetSpec {
            name: one.to_owned(),
            ..second
        };
        right.spec = SetSpec {
            name: other.to_owned(),
            ..first
        };
        state.sets.insert(one.to_owned(), left);
        state.sets.insert(other.to_owned(), right);
        Ok(())
    }

    fn headers(&mut self, prefix: &str) -> Result<Vec<SetHeader>, AddressSetError> {
        let state = self.begin(Operation::Headers(prefix.to_owned()))?;
        let named = state
            .sets
            .values()
            .filter(|set| set.spec.name.starts_with(prefix));
        Ok(named
            .map(|set| SetHeader {
                spec: set.spec.clone(),
                entries: u32::try_from(set.entries.len()).unwrap_or(u32::MAX),
                references: set.references,
            })
            .collect())
    }

    fn list(&mut self, name: &str) -> Result<Vec<ListedEntry>, AddressSetError> {
        let mut state = self.begin(Operation::List(name.to_owned()))?;
        let now = state.now;
        let set = state.set(name)?;
        let timed = set.spec.timeout_seconds.is_some();
        let left = |expiry: &Option<u64>| {
            let seconds = expiry.map_or(0, |expiry| expiry.saturating_sub(now));
            timed.then(|| u32::try_from(seconds).unwrap_or(u32::MAX))
        };
        let listed = set.entries.iter();
        Ok(listed
            .map(|(entry, kept)| ListedEntry {
                entry: *entry,
                timeout_seconds: left(&kept.expiry),
                mark: kept.mark,
            })
            .collect())
    }
}
