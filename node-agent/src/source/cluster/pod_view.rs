//! What the watches of pods and namespaces have said so far. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::Kind;
use crate::attachments::{Labels, PodLabels, Pods};

/// Objects of a kind, each with the list that it was seen in last.
#[derive(Debug)]
struct Listed<K, V> {
    objects: BTreeMap<K, (V, u32)>,
    list: u32,
    is_listing: bool,
    is_changed: bool,
}

impl<K, V> Default for Listed<K, V> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            list: 0,
            is_listing: false,
            is_changed: false,
        }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Listed<K, V> {
    fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
        self.is_listing = true;
    }

    fn put(&mut self, key: K, value: V) {
        let list = self.list;
        match self.objects.get_mut(&key) {
            Some((known, seen)) if *known == value => *seen = list,
            _ => {
                self.objects.insert(key, (value, list));
                self.is_changed = true;
            }
        }
    }

    fn remove(&mut self, key: &K) {
        self.is_changed |= self.objects.remove(key).is_some();
    }

    fn end_list(&mut self) {
        let (list, before) = (self.list, self.objects.len());
        self.objects.retain(|_, (_, seen)| *seen == list);
        self.is_changed |= self.objects.len() != before;
        self.is_listing = false;
    }

    /// All of them, if that is something new; not in the middle of a list.
    fn news(&mut self) -> Option<Arc<BTreeMap<K, V>>> {
        let is_news = self.is_changed && !self.is_listing;
        is_news.then(|| {
            self.is_changed = false;
            let objects = self.objects.iter();
            Arc::new(objects.map(|(k, (v, _))| (k.clone(), v.clone())).collect())
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PodView {
    pods: Listed<(String, String), PodLabels>,
    namespaces: Listed<String, Labels>,
    told: Pods,
}

impl PodView {
    pub(super) fn begin_list(&mut self, kind: Kind) {
        match kind {
            Kind::Pod => self.pods.begin_list(),
            Kind::Namespace => self.namespaces.begin_list(),
            _ => {}
        }
    }

    pub(super) fn end_list(&mut self, kind: Kind) {
        match kind {
            Kind::Pod => self.pods.end_list(),
            Kind::Namespace => self.namespaces.end_list(),
            _ => {}
        }
    }

    /// An object of such a kind is there.
    pub(super) fn put(&mut self, kind: Kind, metadata: ObjectMeta) {
        let labels = metadata.labels.unwrap_or_default();
        let (Some(name), namespace) = (metadata.name, metadata.namespace) else {
            return;
        };
        match (kind, namespace, metadata.uid) {
            (Kind::Pod, Some(namespace), Some(uid)) => {
                self.pods.put((namespace, name), PodLabels { uid, labels });
            }
            (Kind::Namespace, _, _) => self.namespaces.put(name, labels),
            _ => {}
        }
    }

    /// It is gone.
    pub(super) fn remove(&mut self, kind: Kind, metadata: &ObjectMeta) {
        let name = metadata.name.clone().unwrap_or_default();
        match kind {
            Kind::Pod => {
                let namespace = metadata.namespace.clone().unwrap_or_default();
                self.pods.remove(&(namespace, name));
            }
            Kind::Namespace => self.namespaces.remove(&name),
            _ => {}
        }
    }

    /// Nobody follows the kind any more.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.begin_list(kind);
        self.end_list(kind);
    }

    /// What is known, if that is something new.
    pub(super) fn news(&mut self) -> Option<Pods> {
        let (pods, namespaces) = (self.pods.news(), self.namespaces.news());
        if pods.is_none() && namespaces.is_none() {
            return None;
        }
        if let Some(pods) = pods {
            self.told.pods = pods;
        }
        if let Some(namespaces) = namespaces {
            self.told.namespaces = namespaces;
        }
        Some(self.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, tier: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some(format!("uid of {name}")),
            labels: Some([("tier".to_owned(), tier.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    fn names(pods: &Pods) -> Vec<&str> {
        pods.pods.keys().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn a_list_counts_when_it_is_complete_and_what_it_lacks_is_gone() {
        let mut view = PodView::default();
        view.begin_list(Kind::Pod);
        view.put(Kind::Pod, pod("a", "x"));
        assert!(view.news().is_none());
        view.put(Kind::Pod, pod("b", "x"));
        view.end_list(Kind::Pod);
        assert_eq!(names(&view.news().unwrap()), ["a", "b"]);
        view.begin_list(Kind::Pod);
        view.put(Kind::Pod, pod("b", "x"));
        view.end_list(Kind::Pod);
        assert_eq!(names(&view.news().unwrap()), ["b"]);
    }

    #[test]
    fn only_what_matters_is_news() {
        let mut view = PodView::default();
        view.put(Kind::Pod, pod("a", "x"));
        assert!(view.news().is_some());
        let later = ObjectMeta {
            resource_version: Some("7".to_owned()),
            ..pod("a", "x")
        };
        view.put(Kind::Pod, later);
        assert!(view.news().is_none());
        view.put(Kind::Pod, pod("a", "y"));
        let news = view.news().unwrap();
        assert_eq!(news.pods.values().next().unwrap().labels["tier"], "y");
        view.put(
            Kind::Namespace,
            ObjectMeta {
                name: Some("shop".to_owned()),
                ..ObjectMeta::default()
            },
        );
        let with = view.news().unwrap();
        assert!(Arc::ptr_eq(&with.pods, &news.pods) && with.namespaces.len() == 1);
        view.remove(Kind::Pod, &pod("a", "y"));
        assert!(names(&view.news().unwrap()).is_empty());
    }

    #[test]
    fn what_nobody_follows_is_forgotten() {
        let mut view = PodView::default();
        view.put(Kind::Pod, pod("a", "x"));
        view.news();
        view.forget(Kind::Pod);
        assert!(names(&view.news().unwrap()).is_empty());
    }
}
