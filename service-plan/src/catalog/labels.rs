//! The labels of a service, small.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interner::Interner;

/// Labels in the order of their keys. Services share keys, and most of the values that charts write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(Box<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of a label.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(key));
        Some(&self.0[at.ok()?].1)
    }

    /// Lets keys and values be those that are in memory already.
    pub(super) fn share(&mut self, strings: &mut Interner<str>) {
        for (key, value) in &mut self.0 {
            *key = strings.intern(key.clone());
            *value = strings.intern(value.clone());
        }
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let small = |(key, value): (String, String)| (key.into(), value.into());
        Self(labels.into_iter().map(small).collect())
    }
}
