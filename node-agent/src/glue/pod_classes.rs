//! Which address sets tell the pods of a class. Pure.
//!
//! What is in these sets is not the plan's: whoever attaches pods writes their addresses there. The glue makes the sets, and rules by them.

use std::collections::BTreeMap;
use std::fmt;

use sluice_service_plan::model::{Family, PodAction, PodClass, Settings};

use super::membership::{Role, SetId};
use crate::ruleset::{short_hash_of, stable_hash};

/// What the rules of a class say, but for its name: classes that say the same share a set, and what is in it stays right as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey(u64);

impl ClassKey {
    /// The key of a class that needs rules of its own.
    fn of(class: &PodClass) -> Option<Self> {
        let (action, networks): (u8, &[_]) = match &class.action {
            PodAction::Preserve => (0, &[]),
            PodAction::Masquerade => (1, &[]),
            PodAction::Snat(networks) => (2, networks),
        };
        let is_plain = action != 2 && !class.egress && class.out_interface.is_none();
        if is_plain {
            return None;
        }
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let interface = class.out_interface.as_deref().unwrap_or_default();
        Some(Self(stable_hash(&[
            &[action, class.egress.into()],
            interface.as_bytes(),
            networks.join(",").as_bytes(),
        ])))
    }
}

impl fmt::Display for ClassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short_hash_of(self.0))
    }
}

/// The classes that need rules of their own, each by its key.
pub(crate) fn ruled(settings: &Settings) -> BTreeMap<ClassKey, &PodClass> {
    let classes = settings.pod_classes.iter();
    classes
        .filter_map(|class| Some((ClassKey::of(class)?, class)))
        .collect()
}

/// Whether packets by these settings meet the same sets and rules of classes as by those, the node's addresses apart.
pub(crate) fn are_alike(these: &Settings, those: &Settings) -> bool {
    these.pod_classes.is_empty() == those.pod_classes.is_empty()
        && ruled(these).into_keys().eq(ruled(those).into_keys())
}

/// The sets that an address of a pod of this class has to be in. None for a pod without a class, or of a class that there is not.
pub fn sets_of(settings: &Settings, class_name: &str, family: Family) -> Vec<String> {
    let mut classes = settings.pod_classes.iter();
    let Some(class) = classes.find(|class| &*class.name == class_name) else {
        return Vec::new();
    };
    let by_action = match class.action {
        PodAction::Preserve => Role::PodPreserve,
        PodAction::Masquerade | PodAction::Snat(_) => Role::PodMasquerade,
    };
    // By which interface a packet leaves is not known where packets are marked.
    let by_action = class.out_interface.is_none().then_some(by_action);
    let of_its_own = ClassKey::of(class).map(Role::PodClass);
    let roles = by_action.into_iter().chain(of_its_own);
    roles.map(|role| SetId { role, family }.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, action: PodAction) -> PodClass {
        PodClass {
            name: name.into(),
            action,
            egress: false,
            out_interface: None,
        }
    }

    fn sets(class: PodClass) -> Vec<String> {
        let settings = Settings {
            pod_classes: vec![class],
            ..Settings::default()
        };
        assert!(sets_of(&settings, "other", Family::V4).is_empty());
        sets_of(&settings, "a", Family::V6)
    }

    #[test]
    fn plain_classes_are_told_by_the_sets_that_are_always_there() {
        assert_eq!(
            sets(class("a", PodAction::Preserve)),
            ["SLUICE-6-POD-PRESERVE"]
        );
        assert_eq!(
            sets(class("a", PodAction::Masquerade)),
            ["SLUICE-6-POD-MASQ"]
        );
    }

    #[test]
    fn a_class_that_says_more_has_a_set_of_its_own() {
        let snat = |net: &str| PodAction::Snat(vec![net.parse().unwrap()]);
        let first = sets(class("a", snat("192.0.2.0/24")));
        assert_eq!(first[0], "SLUICE-6-POD-MASQ");
        let own = &first[1];
        assert!(own.starts_with("SLUICE-6-POD-") && own.len() <= 31, "{own}");
        assert_ne!(sets(class("a", snat("192.0.3.0/24")))[1], *own);
        let by = |interface: Option<&str>, egress| {
            sets(PodClass {
                out_interface: interface.map(str::to_owned),
                egress,
                ..class("a", PodAction::Preserve)
            })
        };
        let [all, one] = [by(None, true), by(Some("eth1"), false)];
        assert_eq!((all.len(), one.len()), (2, 1));
        assert_ne!(all[1], one[0]);
        assert_ne!(by(Some("eth1"), true), one);
        assert_ne!(by(Some("eth2"), false), one);
    }

    #[test]
    fn classes_that_say_the_same_share_a_set() {
        let egress = |name: &str| PodClass {
            egress: true,
            ..class(name, PodAction::Masquerade)
        };
        let settings = Settings {
            pod_classes: vec![egress("a"), egress("b")],
            ..Settings::default()
        };
        assert_eq!(ruled(&settings).len(), 1);
        let of = |name| sets_of(&settings, name, Family::V4);
        assert_eq!(of("a"), of("b"));
    }
}
