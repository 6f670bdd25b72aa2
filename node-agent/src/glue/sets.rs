//! The glue's address sets in the kernel: what they hold, and how a change gets into them.

use std::collections::{BTreeMap, HashMap, HashSet};

use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, SetHeader, SetKind, SetSpec,
};
use sluice_service_plan::model::Family;

use super::membership::{Member, Role, SetId, prefix};
use super::pod_classes::ClassKey;
use crate::family::kernel_family;

mod compare;
#[cfg(test)]
mod tests;

/// An upper bound that no cluster meets; it costs nothing, a hash grows as it fills.
const MAX_ENTRIES: u32 = 1 << 24;

/// The sets of the glue. A change is staged, then its additions are written, then (when nothing needs them any more) its deletions.
pub struct GlueSets {
    kernel: Box<dyn AddressSets>,
    families: Vec<Family>,
    /// How many services an entry is owed to, for the roles where that can be more than one.
    owed: HashMap<Member, u32>,
    /// Entries in each set, as far as we wrote them.
    sizes: BTreeMap<SetId, u32>,
    /// Rules that refer to each set, as the kernel said right after the constant chains were written.
    references: BTreeMap<SetId, u32>,
    additions: BTreeMap<SetId, Vec<Entry>>,
    deletions: BTreeMap<SetId, Vec<Entry>>,
    stale: Vec<String>,
}

impl GlueSets {
    /// Sets of these families, written through this door.
    pub fn new(kernel: Box<dyn AddressSets>, families: &[Family]) -> Self {
        Self {
            kernel,
            families: families.to_vec(),
            owed: HashMap::new(),
            sizes: BTreeMap::new(),
            references: BTreeMap::new(),
            additions: BTreeMap::new(),
            deletions: BTreeMap::new(),
            stale: Vec::new(),
        }
    }

    /// Stages the step from what the kernel holds to exactly these members. Sets that are missing are made here, with those of classes of pods,
    /// whose members are others' business.
    pub fn stage_all(
        &mut self,
        members: impl Iterator<Item = Member>,
        classes: impl Iterator<Item = ClassKey>,
    ) -> Result<(), AddressSetError> {
        self.forget();
        let mut wanted: BTreeMap<SetId, HashSet<Entry>> = BTreeMap::new();
        for member in members.filter(|(set, _)| self.families.contains(&set.family)) {
            if member.0.role.is_shared() {
                *self.owed.entry(member).or_default() += 1;
            }
            wanted.entry(member.0).or_default().insert(member.1);
        }
        let classes: Vec<Role> = classes.map(Role::PodClass).collect();
        for family in self.families.clone() {
            let mut headers: HashMap<String, SetHeader> = self
                .kernel
                .headers(prefix(family))?
                .into_iter()
                .map(|h| (h.spec.name.clone(), h))
                .collect();
            for role in Role::ALL.into_iter().chain(classes.iter().copied()) {
                let set = SetId { role, family };
                if role.is_filled_by_others() {
                    self.make(&spec(set, 0), headers.remove(&set.name()))?;
                    self.sizes.insert(set, 0);
                    continue;
                }
                let entries = wanted.remove(&set).unwrap_or_default();
                let held = self.held(set, entries.len(), headers.remove(&set.name()))?;
                self.sizes
                    .insert(set, u32::try_from(entries.len()).unwrap_or(u32::MAX));
                self.additions
                    .insert(set, entries.difference(&held).copied().collect());
                self.deletions
                    .insert(set, held.difference(&entries).copied().collect());
            }
            let leftovers = headers
                .into_keys()
                .filter(|name| !is_of_a_balancer(name, family));
            self.stale.extend(leftovers);
        }
        Ok(())
    }

    /// Stages a step: these members come, those go. A member in both stays.
    pub fn stage(&mut self, come: impl Iterator<Item = Member>, go: impl Iterator<Item = Member>) {
        let mut balance: HashMap<Member, i64> = HashMap::new();
        for member in come {
            *balance.entry(member).or_default() += 1;
        }
        for member in go {
            *balance.entry(member).or_default() -= 1;
        }
        for (member, change) in balance {
            if change == 0 || !self.families.contains(&member.0.family) {
                continue;
            }
            let (set, entry) = member;
            let turn = self.turn(member, change);
            let size = self.sizes.entry(set).or_default();
            match turn {
                Turn::In => {
                    *size += 1;
                    self.additions.entry(set).or_default().push(entry);
                }
                Turn::Out => {
                    *size = size.saturating_sub(1);
                    self.deletions.entry(set).or_default().push(entry);
                }
                Turn::None => {}
            }
        }
    }

    /// Writes the additions. Returns how many entries.
    pub fn write_additions(&mut self) -> Result<u64, AddressSetError> {
        let mut written = 0;
        for (set, mut entries) in std::mem::take(&mut self.additions) {
            if !entries.is_empty() {
                entries.sort_unstable();
                self.kernel.add(&spec(set, entries.len()), &entries)?;
                written += entries.len() as u64;
            }
        }
        Ok(written)
    }

    /// Writes the deletions. Returns how many entries.
    pub fn write_deletions(&mut self) -> Result<u64, AddressSetError> {
        let mut written = 0;
        for (set, entries) in std::mem::take(&mut self.deletions).into_iter().rev() {
            if !entries.is_empty() {
                self.kernel.delete(&spec(set, entries.len()), &entries)?;
                written += entries.len() as u64;
            }
        }
        for name in std::mem::take(&mut self.stale) {
            match self.kernel.destroy(&name) {
                Ok(()) => {}
                // Rules of the other variant go by it, until they are removed: the next full comparison finds it again.
                Err(AddressSetError::InUse { .. }) => tracing::debug!(set = name, "still in use"),
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Destroys the sets, those of balancers apart; goes on after errors.
    pub fn remove(&mut self) -> Vec<AddressSetError> {
        self.forget();
        let mut errors = Vec::new();
        for family in Family::ALL {
            let headers = match self.kernel.headers(prefix(family)) {
                Ok(headers) => headers,
                Err(AddressSetError::Unsupported) => continue,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let names = headers.iter().map(|header| header.spec.name.as_str());
            let ours = names.filter(|name| !is_of_a_balancer(name, family));
            errors.extend(ours.filter_map(|name| self.kernel.destroy(name).err()));
        }
        errors
    }

    /// Sets, and entries in them.
    pub fn size(&self) -> (u64, u64) {
        (
            self.sizes.len() as u64,
            self.sizes.values().map(|size| u64::from(*size)).sum(),
        )
    }

    /// The kernel holds a set of ours, those of the balancers included.
    pub fn is_any_present(&mut self) -> Result<bool, AddressSetError> {
        for &family in &self.families {
            if !self.kernel.headers(prefix(family))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// References stay: where no rule is written after this, nobody asks for them anew.
    fn forget(&mut self) {
        self.owed.clear();
        self.sizes.clear();
        self.additions.clear();
        self.deletions.clear();
        self.stale.clear();
    }

    /// Makes a set where it is missing, and anew where it is of another kind. Tells its header where it may hold something.
    fn make(
        &mut self,
        wanted: &SetSpec,
        header: Option<SetHeader>,
    ) -> Result<Option<SetHeader>, AddressSetError> {
        if let Some(header) = header {
            let alike = header.spec.kind == wanted.kind
                && (wanted.kind == SetKind::BitmapPort || header.spec.family == wanted.family)
                && header.spec.timeout_seconds.is_none();
            if alike {
                return Ok(Some(header));
            }
            self.kernel.destroy(&wanted.name)?;
        }
        self.kernel.create(wanted)?;
        Ok(None)
    }

    /// What a set holds now; it is made where it is missing, and made anew where it is too small.
    fn held(
        &mut self,
        set: SetId,
        expected: usize,
        header: Option<SetHeader>,
    ) -> Result<HashSet<Entry>, AddressSetError> {
        let wanted = spec(set, expected);
        let Some(header) = self.make(&wanted, header)? else {
            return Ok(HashSet::new());
        };
        let held: HashSet<Entry> = self
            .kernel
            .list(&wanted.name)?
            .into_iter()
            .map(|listed| listed.entry)
            .collect();
        if header.spec.max_entries < wanted.max_entries && wanted.kind != SetKind::BitmapPort {
            self.enlarge(&wanted, &held)?;
        }
        Ok(held)
    }

    /// Rules go on referring to the set, so a larger one takes its place by a swap.
    fn enlarge(&mut self, wanted: &SetSpec, held: &HashSet<Entry>) -> Result<(), AddressSetError> {
        let larger = SetSpec {
            name: format!("{}-NEW", wanted.name),
            ..wanted.clone()
        };
        match self.kernel.destroy(&larger.name) {
            Ok(()) | Err(AddressSetError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.kernel.create(&larger)?;
        let entries: Vec<Entry> = held.iter().copied().collect();
        self.kernel.add(&larger, &entries)?;
        self.kernel.swap(&larger.name, &wanted.name)?;
        self.kernel.destroy(&larger.name)
    }

    fn turn(&mut self, member: Member, change: i64) -> Turn {
        if !member.0.role.is_shared() {
            return if change > 0 { Turn::In } else { Turn::Out };
        }
        let before = i64::from(self.owed.get(&member).copied().unwrap_or(0));
        let after = (before + change).max(0);
        if after == 0 {
            self.owed.remove(&member);
        } else {
            self.owed
                .insert(member, u32::try_from(after).unwrap_or(u32::MAX));
        }
        match (before > 0, after > 0) {
            (false, true) => Turn::In,
            (true, false) => Turn::Out,
            _ => Turn::None,
        }
    }
}

/// Balancers keep sets of their own: `A-` for affinity, `V-` for virtual servers.
fn is_of_a_balancer(name: &str, family: Family) -> bool {
    let rest = name.strip_prefix(prefix(family)).unwrap_or_default();
    rest.starts_with("A-") || rest.starts_with("V-")
}

enum Turn {
    In,
    Out,
    None,
}

fn spec(set: SetId, expected: usize) -> SetSpec {
    SetSpec {
        name: set.name(),
        kind: set.role.kind(),
        family: kernel_family(set.family),
        max_entries: MAX_ENTRIES,
        expected_entries: u32::try_from(expected).unwrap_or(u32::MAX),
        timeout_seconds: None,
        marks: false,
    }
}
