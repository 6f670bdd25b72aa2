//! What attachments of this node get, by the settings.

use std::collections::{BTreeMap, BTreeSet};

use sluice_attachment::{Family, HairpinMode, SetName, Sysctl, Treatment};
use sluice_crds::v1alpha1::{LabelSelector, PodClass, ServiceProxyPolicySpec};
use sluice_kernel::address_set;
use sluice_service_plan::model::{self, Settings};

use crate::glue::membership::{Role, SetId};
use crate::glue::pod_classes::sets_of;

/// Of the sets that are there whatever the classes are.
const FIXED: [Role; 2] = [Role::PodPreserve, Role::PodMasquerade];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// How pods reach themselves through services.
    pub hairpin: HairpinMode,
    /// In their order: the first that matches a pod counts.
    pub classes: Vec<ClassTerms>,
    /// All sets that hold addresses of pods of some class.
    pub sets: BTreeSet<SetName>,
}

/// A class of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassTerms {
    /// Its name.
    pub name: String,
    /// Sets that hold the addresses of its pods.
    pub sets: Vec<SetName>,
    /// Tunables of its pods' network namespaces.
    pub sysctls: Vec<Sysctl>,
    pods: LabelSelector,
    namespaces: LabelSelector,
}

impl Terms {
    /// Those of a policy, whose plan settings are these.
    pub fn of(policy: &ServiceProxyPolicySpec, settings: &Settings) -> Self {
        let class = |class: &PodClass| ClassTerms {
            name: class.name.clone(),
            sets: named(|family| sets_of(settings, &class.name, family)),
            sysctls: class
                .sysctls
                .iter()
                .map(|sysctl| Sysctl {
                    name: sysctl.name.clone(),
                    value: sysctl.value.clone(),
                })
                .collect(),
            pods: class.pod_selector.clone(),
            namespaces: class.namespace_selector.clone(),
        };
        let classes: Vec<ClassTerms> = policy.source_nat.pod_classes.iter().map(class).collect();
        let fixed = named(|family| FIXED.map(|role| SetId { role, family }.name()).to_vec());
        let of_classes = classes.iter().flat_map(|class| class.sets.iter().cloned());
        Self {
            hairpin: hairpin(policy),
            sets: of_classes.chain(fixed).collect(),
            classes,
        }
    }

    /// The same where only these families are served: nobody makes sets of another.
    #[must_use]
    pub fn of_families(&self, families: &[address_set::Family]) -> Self {
        let served = |set: &SetName| families.contains(&kernel_family(set.family));
        let mut terms = self.clone();
        terms.sets.retain(served);
        for class in &mut terms.classes {
            class.sets.retain(served);
        }
        terms
    }

    /// Labels of pods matter.
    pub fn need_pods(&self) -> bool {
        self.classes.iter().any(|class| !class.takes_all())
    }

    /// Labels of namespaces matter.
    pub fn need_namespaces(&self) -> bool {
        self.classes
            .iter()
            .any(|class| class.namespaces != LabelSelector::default())
    }

    /// The class of a pod with these labels.
    pub fn class_of(
        &self,
        pod: &BTreeMap<String, String>,
        namespace: &BTreeMap<String, String>,
    ) -> Option<&ClassTerms> {
        self.classes
            .iter()
            .find(|class| class.pods.matches(pod) && class.namespaces.matches(namespace))
    }

    /// The class of a pod of which nothing is known: there is an answer only where no selector asks for labels before it.
    pub fn class_of_unknown(&self) -> Result<Option<&ClassTerms>, LabelsMatter> {
        match self.classes.first() {
            None => Ok(None),
            Some(class) if class.takes_all() => Ok(Some(class)),
            Some(_) => Err(LabelsMatter),
        }
    }

    /// What pods of a class get.
    pub fn treatment(&self, class: Option<&ClassTerms>) -> Treatment {
        Treatment {
            class: class.map(|class| class.name.clone()),
            hairpin: self.hairpin,
            sets: class.map(|class| class.sets.clone()).unwrap_or_default(),
            sysctls: class.map(|class| class.sysctls.clone()).unwrap_or_default(),
        }
    }
}

/// A pod's class cannot be told without its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelsMatter;

impl ClassTerms {
    fn takes_all(&self) -> bool {
        self.pods == LabelSelector::default() && self.namespaces == LabelSelector::default()
    }
}

fn named(of_family: impl Fn(model::Family) -> Vec<String>) -> Vec<SetName> {
    let families = [
        (model::Family::V4, Family::V4),
        (model::Family::V6, Family::V6),
    ];
    let sets = families.into_iter().flat_map(|(plan, family)| {
        let names = of_family(plan);
        names.into_iter().map(move |name| SetName { family, name })
    });
    sets.collect()
}

/// The kernel doors' word.
pub(super) const fn kernel_family(family: Family) -> address_set::Family {
    match family {
        Family::V4 => address_set::Family::V4,
        Family::V6 => address_set::Family::V6,
    }
}

fn hairpin(policy: &ServiceProxyPolicySpec) -> HairpinMode {
    use sluice_crds::v1alpha1::HairpinMode as Asked;
    match policy.hairpin.mode {
        Asked::HairpinVeth => HairpinMode::HairpinVeth,
        Asked::None => HairpinMode::None,
    }
}
