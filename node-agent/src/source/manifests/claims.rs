//! Which file an object is taken from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::object::ObjectKey;

/// Where an object in force stands.
#[derive(Debug, Clone)]
struct Holder {
    file: Arc<str>,
    line: usize,
    hash: u64,
}

/// All objects in force with the file that each is taken from, and files that have the same object but come later by name.
#[derive(Debug, Default)]
pub(super) struct Claims {
    holders: HashMap<ObjectKey, Holder>,
    rivals: BTreeMap<ObjectKey, BTreeMap<Arc<str>, usize>>,
    /// Objects that lost their file since the round began, with the hash of what is in force. They may turn up in another one.
    orphans: BTreeMap<ObjectKey, u64>,
    /// Files that have an object which the file that it was taken from gave up.
    heirs: BTreeSet<Arc<str>>,
}

impl Claims {
    /// A file has this object. Returns whether its text comes into force by that.
    pub(super) fn claim(
        &mut self,
        key: &ObjectKey,
        file: &Arc<str>,
        line: usize,
        hash: u64,
    ) -> bool {
        let holder = Holder {
            file: file.clone(),
            line,
            hash,
        };
        let Some(former) = self.holders.get_mut(key) else {
            self.drop_rival(key, file);
            let in_force = self.orphans.remove(key);
            self.holders.insert(key.clone(), holder);
            return in_force != Some(hash);
        };
        if former.file < *file {
            self.rivals
                .entry(key.clone())
                .or_default()
                .insert(file.clone(), line);
            return false;
        }
        let former = std::mem::replace(former, holder);
        if former.file != *file {
            self.drop_rival(key, file);
            self.rivals
                .entry(key.clone())
                .or_default()
                .insert(former.file, former.line);
        }
        former.hash != hash
    }

    /// A file no longer has this object.
    pub(super) fn withdraw(&mut self, key: &ObjectKey, file: &Arc<str>) {
        if self
            .holders
            .get(key)
            .is_some_and(|holder| holder.file == *file)
        {
            if let Some(holder) = self.holders.remove(key) {
                self.orphans.insert(key.clone(), holder.hash);
            }
            self.heirs.extend(
                self.rivals
                    .get(key)
                    .into_iter()
                    .flat_map(|files| files.keys().cloned()),
            );
        } else {
            self.drop_rival(key, file);
        }
    }

    fn drop_rival(&mut self, key: &ObjectKey, file: &Arc<str>) {
        if let Some(files) = self.rivals.get_mut(key) {
            files.remove(file);
            if files.is_empty() {
                self.rivals.remove(key);
            }
        }
    }

    /// The object is taken from this file.
    pub(super) fn is_held_by(&self, key: &ObjectKey, file: &str) -> bool {
        self.holders
            .get(key)
            .is_some_and(|holder| &*holder.file == file)
    }

    /// Files to read again, because an object that they have too lost its file.
    pub(super) fn take_heirs(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.heirs)
    }

    /// Ends a round: objects that are in no file any more.
    pub(super) fn take_orphans(&mut self) -> BTreeMap<ObjectKey, u64> {
        std::mem::take(&mut self.orphans)
    }

    /// Objects that stand in a second file, with that file, the line there, and the file that they are taken from.
    pub(super) fn second_files(
        &self,
    ) -> impl Iterator<Item = (&ObjectKey, &Arc<str>, usize, &Arc<str>)> {
        self.rivals.iter().flat_map(|(key, files)| {
            let holder = self.holders.get(key);
            files
                .iter()
                .filter_map(move |(file, line)| Some((key, file, *line, &holder?.file)))
        })
    }
}
