//! One allocation for equal values.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Below this many values nobody looks for unused ones.
const SMALL: usize = 1024;

/// Shares equal values, and forgets those that nobody else holds whenever their number has doubled.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: SMALL,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The shared value that equals this one.
    pub(super) fn intern(&mut self, value: impl Borrow<T> + Into<Arc<T>>) -> Arc<T> {
        if let Some(known) = self.values.get(value.borrow()) {
            return known.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = SMALL.max(2 * self.values.len());
        }
        let value = value.into();
        self.values.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_unused_ones_forgotten() {
        let mut interner = Interner::<str>::default();
        let kept = interner.intern(Arc::<str>::from("kept"));
        for number in 0..10 * SMALL {
            interner.intern(Arc::<str>::from(number.to_string()));
        }
        assert!(Arc::ptr_eq(
            &kept,
            &interner.intern(Arc::<str>::from("kept"))
        ));
        assert!(interner.values.len() <= SMALL);
    }
}
