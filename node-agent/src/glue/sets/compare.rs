//! Whether the kernel holds the sets as they were written.

use std::collections::{BTreeMap, HashMap, HashSet};

use sluice_kernel::address_set::{AddressSetError, Entry, SetHeader, SetKind};

use super::GlueSets;
use crate::data_plane::Drift;
use crate::glue::membership::{Member, Role, SetId, prefix};

impl GlueSets {
    /// Remembers how many rules refer to each set now.
    pub fn note_references(&mut self) -> Result<(), AddressSetError> {
        let headers = self.headers()?;
        // Chains that services need refer to the pods' set, so that number moves.
        let fixed = headers
            .into_iter()
            .filter(|(set, _)| set.role != Role::Pods);
        self.references = fixed
            .map(|(set, header)| (set, header.references))
            .collect();
        Ok(())
    }

    /// Compares sizes and references with what they were.
    pub fn check(&mut self) -> Result<Vec<Drift>, AddressSetError> {
        let mut headers = self.headers()?;
        let mut drifts = Vec::new();
        for (set, size) in &self.sizes {
            let object = format!("address set {}", set.name());
            let Some(header) = headers.remove(set) else {
                drifts.push(Drift {
                    object,
                    what: "is gone".to_owned(),
                });
                continue;
            };
            // The kernel tells no size of a bitmap.
            let is_counted =
                set.role.kind() != SetKind::BitmapPort && !set.role.is_filled_by_others();
            if header.entries != *size && is_counted {
                drifts.push(Drift {
                    object,
                    what: format!("holds {} entries instead of {size}", header.entries),
                });
            } else if self
                .references
                .get(set)
                .is_some_and(|references| *references != header.references)
            {
                let was = self.references.get(set).copied().unwrap_or_default();
                drifts.push(Drift {
                    object,
                    what: format!("is used by {} rules instead of {was}", header.references),
                });
            }
        }
        Ok(drifts)
    }

    /// Compares every entry with these members.
    pub fn verify(
        &mut self,
        members: impl Iterator<Item = Member>,
    ) -> Result<Vec<Drift>, AddressSetError> {
        let mut wanted: BTreeMap<SetId, HashSet<Entry>> = BTreeMap::new();
        for (set, entry) in members.filter(|(set, _)| self.families.contains(&set.family)) {
            wanted.entry(set).or_default().insert(entry);
        }
        let mut drifts = Vec::new();
        let known: Vec<SetId> = self.sizes.keys().copied().collect();
        for set in known {
            let object = format!("address set {}", set.name());
            let held = match self.kernel.list(&set.name()) {
                Ok(held) => held
                    .into_iter()
                    .map(|listed| listed.entry)
                    .collect::<HashSet<_>>(),
                Err(AddressSetError::NotFound { .. }) => {
                    drifts.push(Drift {
                        object,
                        what: "is gone".to_owned(),
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            if set.role.is_filled_by_others() {
                continue;
            }
            let entries = wanted.remove(&set).unwrap_or_default();
            let missing = entries.difference(&held).count();
            let foreign = held.difference(&entries).count();
            if missing + foreign > 0 {
                let what = format!("lacks {missing} entries and holds {foreign} that are not ours");
                drifts.push(Drift { object, what });
            }
        }
        Ok(drifts)
    }

    fn headers(&mut self) -> Result<BTreeMap<SetId, SetHeader>, AddressSetError> {
        let mut by_set = BTreeMap::new();
        for family in self.families.clone() {
            let by_name: HashMap<String, SetHeader> = self
                .kernel
                .headers(prefix(family))?
                .into_iter()
                .map(|h| (h.spec.name.clone(), h))
                .collect();
            let sets = self.sizes.keys().copied();
            by_set.extend(
                sets.filter(|set| set.family == family)
                    .filter_map(|set| Some((set, by_name.get(&set.name())?.clone()))),
            );
        }
        Ok(by_set)
    }
}
