//! Which objects of a kind were told of, and as what. Pure.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;
use sluice_service_plan::model::ObjectName;

/// A list that comes back with fewer than one in so many of the objects that were there is not believed at once,
const FEW: usize = 10;
/// where there were at least so many.
const MANY: usize = 20;

/// An object as it was told.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Of its fields that matter; absent where none of its states could be used yet.
    hash: Option<u64>,
    /// The list that it was seen in last.
    list: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: HashMap<ObjectName, Told>,
    list: u32,
}

/// How a list ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// These are gone.
    Gone(Vec<ObjectName>),
    /// Nearly everything would be.
    Doubtful {
        /// How many of them.
        gone: usize,
        /// Of how many.
        of: usize,
    },
}

impl Known {
    /// All objects are listed anew from here.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// An object is there. Returns whether what matters of it is new.
    pub(super) fn take(&mut self, name: &ObjectName, object: &impl Hash) -> bool {
        let mut hasher = SipHasher13::new();
        object.hash(&mut hasher);
        let told = Told {
            hash: Some(hasher.finish()),
            list: self.list,
        };
        let before = self.objects.insert(name.clone(), told);
        before.is_none_or(|before| before.hash != told.hash)
    }

    /// An object is there and cannot be used: what was told of it stays.
    pub(super) fn keep(&mut self, name: &ObjectName) {
        let list = self.list;
        let told = self.objects.entry(name.clone());
        told.or_insert(Told { hash: None, list }).list = list;
    }

    /// An object is gone. Returns whether it had been told of.
    pub(super) fn remove(&mut self, name: &ObjectName) -> bool {
        let told = self.objects.remove(name);
        told.is_some_and(|told| told.hash.is_some())
    }

    /// The list is complete: what was not in it is gone. A list that has lost nearly everything is believed only when told to; until then
    /// all stays as it was.
    pub(super) fn end_list(&mut self, believe: bool) -> Ended {
        let list = self.list;
        let missing = |told: &Told| told.list != list;
        let gone = self.objects.values().filter(|told| missing(told)).count();
        let of = self.objects.len();
        if !believe && of >= MANY && (of - gone) * FEW < of {
            return Ended::Doubtful { gone, of };
        }
        let mut names = Vec::with_capacity(gone);
        self.objects.retain(|name, told| {
            if missing(told) {
                names.push(name.clone());
            }
            !missing(told)
        });
        names.sort_unstable();
        Ended::Gone(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> ObjectName {
        ObjectName::new("ns", format!("o{n}"))
    }

    fn with(count: usize) -> Known {
        let mut known = Known::default();
        known.begin_list();
        for n in 0..count {
            assert!(known.take(&name(n), &n));
        }
        assert_eq!(known.end_list(false), Ended::Gone(vec![]));
        known
    }

    #[test]
    fn a_list_that_says_the_same_is_no_news() {
        let mut known = with(3);
        known.begin_list();
        for n in 0..3 {
            assert!(!known.take(&name(n), &n));
        }
        assert_eq!(known.end_list(false), Ended::Gone(vec![]));
    }

    #[test]
    fn what_a_list_lacks_is_gone_and_what_a_broken_off_list_lacks_is_not() {
        let mut known = with(3);
        known.begin_list();
        known.take(&name(0), &0);
        known.begin_list();
        known.take(&name(0), &0);
        known.take(&name(2), &"other");
        assert_eq!(known.end_list(false), Ended::Gone(vec![name(1)]));
        assert!(known.remove(&name(2)) && !known.remove(&name(2)));
    }

    #[test]
    fn an_object_that_cannot_be_used_keeps_its_last_good_state() {
        let mut known = with(2);
        known.begin_list();
        known.take(&name(0), &0);
        known.keep(&name(1));
        known.keep(&name(7));
        assert_eq!(known.end_list(false), Ended::Gone(vec![]));
        assert!(
            !known.take(&name(1), &1_usize),
            "its last good state comes back"
        );
        assert!(!known.remove(&name(7)), "nobody was told of it");
    }

    #[test]
    fn a_list_that_lost_nearly_everything_is_believed_only_when_told_to() {
        let mut known = with(30);
        for believe in [false, true] {
            known.begin_list();
            known.take(&name(0), &0);
            known.take(&name(1), &1);
            match known.end_list(believe) {
                Ended::Doubtful { gone, of } => assert_eq!((believe, gone, of), (false, 28, 30)),
                Ended::Gone(gone) => assert_eq!((believe, gone.len()), (true, 28)),
            }
        }
        let mut few = with(19);
        few.begin_list();
        assert!(matches!(few.end_list(false), Ended::Gone(gone) if gone.len() == 19));
    }
}
