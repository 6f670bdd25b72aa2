//! What separates address sets and records from what they are to be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_attachment::{Record, SetName};

use super::pods::Pods;
use super::terms::Terms;
use super::treatment;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Correction {
    /// Records of pods whose treatment changed.
    pub(super) records: Vec<Record>,
    /// Addresses that come into each set,
    pub(super) come: BTreeMap<SetName, BTreeSet<IpAddr>>,
    /// and that go.
    pub(super) go: BTreeMap<SetName, BTreeSet<IpAddr>>,
}

impl Correction {
    /// Between what the sets hold and what the attachments on disk ask for. Sets that the kernel does not have are left out of `held`.
    pub(super) fn between(
        held: &BTreeMap<SetName, BTreeSet<IpAddr>>,
        records: Vec<Record>,
        terms: &Terms,
        pods: &Pods,
    ) -> Self {
        let mut correction = Self::default();
        let mut wanted: BTreeMap<SetName, BTreeSet<IpAddr>> = BTreeMap::new();
        for mut record in records {
            let treatment = treatment::of_record(terms, pods, &record);
            for address in &record.addresses {
                for set in treatment.sets_of(*address) {
                    wanted.entry(set.clone()).or_default().insert(*address);
                }
            }
            if record.treatment != treatment {
                record.treatment = treatment;
                correction.records.push(record);
            }
        }
        for (set, held) in held {
            let wanted = wanted.remove(set).unwrap_or_default();
            let difference = |one: &BTreeSet<IpAddr>, other: &BTreeSet<IpAddr>| {
                one.difference(other).copied().collect::<BTreeSet<_>>()
            };
            let (come, go) = (difference(&wanted, held), difference(held, &wanted));
            if !come.is_empty() {
                correction.come.insert(set.clone(), come);
            }
            if !go.is_empty() {
                correction.go.insert(set.clone(), go);
            }
        }
        correction
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_attachment::{
        AttachmentId, Family, HairpinMode, HairpinSet, Pod, RECORD_VERSION, Treatment,
    };
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
    use sluice_service_plan::model;

    use super::*;
    use crate::attachments::pods::PodLabels;
    use crate::settings::{NodeNetworks, NodeSettings};

    const CLASSES: &str = r#"[
        {"name": "keep", "podSelector": {"matchLabels": {"source": "keep"}}, "action": "Preserve"},
        {"name": "team", "namespaceSelector": {"matchLabels": {"team": "a"}}, "action": "Masquerade"}
    ]"#;

    fn terms(classes: &str) -> Terms {
        let mut policy = ServiceProxyPolicySpec::default();
        policy.source_nat.pod_classes = serde_json::from_str(classes).unwrap();
        let settings = NodeSettings::resolve(&policy, NodeNetworks::default());
        Terms::of(&policy, &settings.plan)
    }

    fn pods(labels: &[(&str, &str)]) -> Pods {
        let pod = PodLabels {
            uid: "u1".to_owned(),
            labels: map(labels),
        };
        Pods {
            pods: Arc::new([(("shop".to_owned(), "web".to_owned()), pod)].into()),
            namespaces: Arc::new([("shop".to_owned(), map(&[("team", "a")]))].into()),
        }
    }

    fn map(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        labels.iter().map(owned).collect()
    }

    fn record(uid: &str, treatment: Treatment) -> Record {
        Record {
            version: RECORD_VERSION,
            id: AttachmentId::new("c1", "eth0").unwrap(),
            netns: "/run/netns/c1".to_owned(),
            network: "pods".to_owned(),
            pod: Some(Pod {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                uid: Some(uid.to_owned()),
            }),
            addresses: vec!["10.244.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            host_interface: None,
            hairpin: HairpinSet::Nothing,
            treatment,
        }
    }

    fn nothing_held(terms: &Terms) -> BTreeMap<SetName, BTreeSet<IpAddr>> {
        let sets = terms.sets.iter().cloned();
        sets.map(|set| (set, BTreeSet::new())).collect()
    }

    fn class(correction: &Correction) -> Option<&str> {
        correction.records.first()?.treatment.class.as_deref()
    }

    #[test]
    fn a_pod_is_in_the_sets_of_the_first_class_that_matches_it() {
        let terms = terms(CLASSES);
        for (labels, expected) in [(&[("source", "keep")][..], "keep"), (&[], "team")] {
            let records = vec![record("u1", Treatment::default())];
            let held = nothing_held(&terms);
            let correction = Correction::between(&held, records, &terms, &pods(labels));
            assert_eq!(class(&correction), Some(expected));
            let families: Vec<Family> = correction.come.keys().map(|set| set.family).collect();
            assert_eq!(families, [Family::V4, Family::V6], "{correction:?}");
            assert!(correction.go.is_empty());
        }
    }

    #[test]
    fn what_is_as_it_is_to_be_is_left_alone_and_what_no_attachment_owns_goes() {
        let terms = terms(CLASSES);
        let pods = pods(&[("source", "keep")]);
        let records = vec![record("u1", Treatment::default())];
        let first = Correction::between(&nothing_held(&terms), records, &terms, &pods);
        let mut held = nothing_held(&terms);
        held.extend(first.come);
        let again = Correction::between(&held, first.records, &terms, &pods);
        assert_eq!(again, Correction::default());
        let gone = Correction::between(&held, Vec::new(), &terms, &pods);
        assert_eq!(gone.go.len(), 2);
    }

    #[test]
    fn a_change_of_labels_moves_the_addresses() {
        let terms = terms(CLASSES);
        let keep = pods(&[("source", "keep")]);
        let records = vec![record("u1", Treatment::default())];
        let first = Correction::between(&nothing_held(&terms), records, &terms, &keep);
        let mut held = nothing_held(&terms);
        held.extend(first.come);
        let moved = Correction::between(&held, first.records, &terms, &pods(&[]));
        assert_eq!(class(&moved), Some("team"));
        assert_eq!((moved.come.len(), moved.go.len()), (2, 2));
    }

    #[test]
    fn a_pod_that_is_not_known_stays_in_its_class_while_there_is_such_a_class() {
        let with = terms(CLASSES);
        let pods = pods(&[("source", "keep")]);
        let treatment = with.treatment(with.classes.first());
        let of_another = record("u0", treatment.clone());
        let correction =
            Correction::between(&nothing_held(&with), vec![of_another.clone()], &with, &pods);
        assert!(correction.records.is_empty() && correction.come.len() == 2);
        let without = terms("[]");
        let correction =
            Correction::between(&nothing_held(&without), vec![of_another], &without, &pods);
        assert!(correction.come.is_empty());
        assert_eq!(correction.records[0].treatment.sets, []);
    }

    #[test]
    fn what_the_plugin_chose_alone_holds_until_the_pod_is_known() {
        let terms = terms(CLASSES);
        let preserve = terms.classes[0].sets.clone();
        let chosen = Treatment {
            hairpin: HairpinMode::None,
            sets: preserve.clone(),
            ..Treatment::default()
        };
        let records = vec![record("u1", chosen)];
        let held = nothing_held(&terms);
        let unknown = Correction::between(&held, records.clone(), &terms, &Pods::default());
        assert!(unknown.records.is_empty());
        assert_eq!(unknown.come.keys().cloned().collect::<Vec<_>>(), preserve);
        let known = Correction::between(&held, records, &terms, &pods(&[]));
        assert_eq!(class(&known), Some("team"));
        assert_eq!(known.records[0].treatment.hairpin, HairpinMode::None);
    }

    #[test]
    fn the_plan_and_the_plugin_name_the_same_sets() {
        let settings = model::Settings::default();
        let sets = Terms::of(&ServiceProxyPolicySpec::default(), &settings).sets;
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        for name in ["SLUICE-4-POD-PRESERVE", "SLUICE-6-POD-MASQ"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
