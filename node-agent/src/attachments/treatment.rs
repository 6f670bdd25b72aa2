//! What a pod is to be given. Pure.

use sluice_attachment::{Pod, Record, Treatment};

use super::pods::Pods;
use super::terms::Terms;

/// Of a pod by its labels; nothing where these matter and are not known.
pub(super) fn of_pod(terms: &Terms, pods: &Pods, pod: Option<&Pod>) -> Option<Treatment> {
    if let Ok(class) = terms.class_of_unknown() {
        return Some(terms.treatment(class));
    }
    let (labels, namespace) = pods.labels(pod?, terms.need_namespaces())?;
    Some(terms.treatment(terms.class_of(labels, namespace)))
}

/// Of a pod that is attached. One that the API server does not know (any more) stays in its class as long as there is such a class.
pub(super) fn of_record(terms: &Terms, pods: &Pods, record: &Record) -> Treatment {
    let known = of_pod(terms, pods, record.pod.as_ref());
    let mut treatment = known.unwrap_or_else(|| as_before(terms, &record.treatment));
    // What is done to a pod at its attachment only.
    treatment.hairpin = record.treatment.hairpin;
    treatment.sysctls.clone_from(&record.treatment.sysctls);
    treatment
}

fn as_before(terms: &Terms, before: &Treatment) -> Treatment {
    if let Some(name) = &before.class {
        return terms.treatment(terms.classes.iter().find(|class| class.name == *name));
    }
    // The plugin chose without us, by sets that there always are.
    let mut chosen = before.clone();
    chosen.sets.retain(|set| terms.sets.contains(set));
    chosen
}
