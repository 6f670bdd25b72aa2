//! Labels of this node's pods and of namespaces, as far as an API server told them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_attachment::Pod;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A pod of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLabels {
    /// Tells it from an earlier pod of the same name.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
}

/// See the module. Copies share what did not change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pods {
    /// By namespace and name.
    pub pods: Arc<BTreeMap<(String, String), PodLabels>>,
    /// By name.
    pub namespaces: Arc<BTreeMap<String, Labels>>,
}

impl Pods {
    /// Labels of a pod and of its namespace. Nothing where either is not known (yet), or where another pod of this name is.
    pub fn labels(&self, pod: &Pod, needs_namespace: bool) -> Option<(&Labels, &Labels)> {
        static NONE: Labels = Labels::new();
        let key = (pod.namespace.clone(), pod.name.clone());
        let known = self.pods.get(&key)?;
        if pod.uid.as_ref().is_some_and(|uid| *uid != known.uid) {
            return None;
        }
        match self.namespaces.get(&pod.namespace) {
            Some(namespace) => Some((&known.labels, namespace)),
            None => (!needs_namespace).then_some((&known.labels, &NONE)),
        }
    }
}
