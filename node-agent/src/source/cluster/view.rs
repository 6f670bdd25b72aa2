//! What the watches have said so far, and what of it is new. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::v1alpha1::{
    ActiveMode, NodeServiceProxy, NodeServiceProxyStatus, ServiceProxyPolicySpec,
};
use sluice_service_plan::model::{NodeFacts, ObjectName};

use super::super::{Kind, Refusal, Revision, Update};
use super::guarded::Unreadable;
use super::known::{Ended, Known};
use super::pod_view::PodView;
use super::settings::{Given, Settings};
use sluice_plan_input::convert::{self, FieldError};

/// Kinds that must have been listed before anything is told.
const NEEDED: [Kind; 4] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Node,
    Kind::NodeServiceProxy,
];

/// The `NodeServiceProxy` of this node, as far as its status depends on it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Own {
    /// An object made anew has another, and no status.
    pub(super) uid: Option<String>,
    pub(super) generation: i64,
    /// What it asks for; absent where that cannot be read.
    pub(super) asked: Option<(Revision, ActiveMode)>,
    /// Why it cannot be used.
    pub(super) problem: Option<String>,
    /// What is written there.
    pub(super) status: NodeServiceProxyStatus,
}

/// An object, or why it cannot be read.
pub(super) type Read<K> = Result<K, Box<Unreadable>>;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    services: Known,
    slices: Known,
    node: Option<NodeFacts>,
    settings: Settings,
    own: Option<Own>,
    /// The list that is being read has it.
    own_is_listed: bool,
    listed: BTreeSet<Kind>,
    refusals: BTreeMap<(Kind, String), Refusal>,
    /// Not waited for: pods are attached without an answer too.
    pub(super) pods: PodView,
    told_policy: Option<ServiceProxyPolicySpec>,
    told_revision: Option<Revision>,
    pending: Update,
    is_begun: bool,
}

impl View {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            services: Known::default(),
            slices: Known::default(),
            node: None,
            settings,
            own: None,
            own_is_listed: false,
            listed: BTreeSet::new(),
            refusals: BTreeMap::new(),
            pods: PodView::default(),
            told_policy: None,
            told_revision: None,
            pending: Update::default(),
            is_begun: false,
        }
    }

    /// What is new since the last call; nothing before everything was listed once.
    pub(super) fn take(&mut self) -> Option<Update> {
        if !self.is_begun {
            if !self.missing().is_empty() {
                return None;
            }
            self.is_begun = true;
            self.tell_settings();
            return Some(std::mem::take(&mut self.pending));
        }
        (!self.pending.is_empty()).then(|| std::mem::take(&mut self.pending))
    }

    /// Kinds that were not listed yet. A node that is not there counts as such: it has not been made yet.
    pub(super) fn missing(&self) -> Vec<Kind> {
        let is_missing = |kind: &Kind| match kind {
            Kind::Node => self.node.is_none(),
            kind => !self.listed.contains(kind),
        };
        NEEDED.into_iter().filter(is_missing).collect()
    }

    /// The object of this node.
    pub(super) fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    /// All objects of a kind are listed anew from here.
    pub(super) fn begin_list(&mut self, kind: Kind) {
        if kind == Kind::NodeServiceProxy {
            self.own_is_listed = false;
        }
        self.pods.begin_list(kind);
        if let Some(known) = self.known(kind) {
            known.begin_list();
        }
    }

    /// A list is complete. Returns how many of how many objects it lacks, where so many that it is not believed yet.
    pub(super) fn end_list(&mut self, kind: Kind, believe: bool) -> Option<(usize, usize)> {
        let ended = self.known(kind).map(|known| known.end_list(believe));
        match ended {
            Some(Ended::Doubtful { gone, of }) => return Some((gone, of)),
            Some(Ended::Gone(names)) => {
                for name in names {
                    self.gone(kind, name);
                }
            }
            None => {}
        }
        if kind == Kind::NodeServiceProxy && !self.own_is_listed {
            self.own = None;
        }
        self.pods.end_list(kind);
        self.listed.insert(kind);
        None
    }

    /// There is none of this kind, or no leave to read it, and that is no reason to wait.
    pub(super) fn do_without(&mut self, kind: Kind) {
        self.listed.insert(kind);
    }

    /// A Service is there.
    pub(super) fn service(&mut self, object: Read<core::Service>) {
        let Some((name, object)) = self.readable(Kind::Service, object, |o| &o.metadata) else {
            return;
        };
        match convert::service(object) {
            Ok(service) => {
                self.settle(Kind::Service, &name);
                if self.services.take(&name, &service) {
                    self.pending.services.insert(name, Some(service));
                }
            }
            Err(error) => self.refuse(Kind::Service, &name, error),
        }
    }

    /// A slice is there.
    pub(super) fn slice(&mut self, object: Read<discovery::EndpointSlice>) {
        let kind = Kind::EndpointSlice;
        let Some((name, object)) = self.readable(kind, object, |o| &o.metadata) else {
            return;
        };
        let cause = convert::cause(&object);
        match convert::endpoint_slice(object) {
            Ok(slice) => {
                self.settle(kind, &name);
                if self.slices.take(&name, &slice) {
                    if let Some(at) = cause {
                        self.pending.causes.entry(name.clone()).or_insert(at);
                    }
                    self.pending.slices.insert(name, Some(slice));
                }
            }
            Err(error) => self.refuse(kind, &name, error),
        }
    }

    /// The node is there.
    pub(super) fn node(&mut self, object: Read<core::Node>) {
        let Some((name, object)) = self.readable(Kind::Node, object, |o| &o.metadata) else {
            return;
        };
        match convert::node(object) {
            Ok(node) => {
                self.settle(Kind::Node, &name);
                if self.node.as_ref() != Some(&node.facts) {
                    self.pending.node = Some(node.facts.clone());
                    self.node = Some(node.facts);
                }
            }
            Err(error) => self.refuse(Kind::Node, &name, error),
        }
    }

    /// The node's own object is there.
    pub(super) fn node_service_proxy(&mut self, object: Read<NodeServiceProxy>) {
        self.own_is_listed = true;
        let mut own = Own {
            uid: None,
            generation: 0,
            asked: None,
            problem: None,
            status: NodeServiceProxyStatus::default(),
        };
        match object {
            Err(unreadable) => {
                let Unreadable {
                    metadata,
                    status,
                    field,
                    error,
                } = *unreadable;
                own.uid = metadata.uid;
                own.generation = metadata.generation.unwrap_or_default();
                let field = if field.is_empty() { "spec" } else { &field };
                own.problem = Some(format!(
                    "{field} cannot be read ({error}): an agent as new as the operator may understand it"
                ));
                own.status = serde_json::from_value(status).unwrap_or_default();
            }
            Ok(object) => {
                own.uid = object.metadata.uid;
                own.generation = object.metadata.generation.unwrap_or_default();
                own.status = object.status.unwrap_or_default();
                let given = Given {
                    generation: own.generation,
                    spec: object.spec,
                };
                own.asked = Some((given.revision(), given.spec.mode));
                match given.spec.validate().first() {
                    Some(invalid) => {
                        own.problem = Some(format!("{}: {}", invalid.field, invalid.message));
                    }
                    None => self.settings.take(given),
                }
            }
        }
        self.own = Some(own);
        if self.is_begun {
            self.tell_settings();
        }
    }

    /// An object is gone. A node that is gone keeps its facts, and settings stay until there are others.
    pub(super) fn deleted(&mut self, kind: Kind, metadata: &ObjectMeta) {
        match kind {
            Kind::NodeServiceProxy => self.own = None,
            Kind::Service | Kind::EndpointSlice => {
                let Ok(name) = convert::namespaced(metadata) else {
                    return;
                };
                let was_told = self.known(kind).is_some_and(|known| known.remove(&name));
                if was_told {
                    self.gone(kind, name);
                } else {
                    self.settle(kind, &name);
                }
            }
            Kind::Pod | Kind::Namespace => self.pods.remove(kind, metadata),
            Kind::Node | Kind::ServiceProxyPolicy => {}
        }
    }

    fn gone(&mut self, kind: Kind, name: ObjectName) {
        self.settle(kind, &name);
        match kind {
            Kind::Service => {
                self.pending.services.insert(name, None);
            }
            Kind::EndpointSlice => {
                self.pending.causes.remove(&name);
                self.pending.slices.insert(name, None);
            }
            _ => {}
        }
    }

    fn known(&mut self, kind: Kind) -> Option<&mut Known> {
        match kind {
            Kind::Service => Some(&mut self.services),
            Kind::EndpointSlice => Some(&mut self.slices),
            _ => None,
        }
    }

    fn tell_settings(&mut self) {
        let policy = self.settings.policy();
        if self.told_policy.as_ref() != Some(&policy) {
            self.pending.policy = Some(policy.clone());
            self.told_policy = Some(policy);
        }
        let revision = self.settings.revision();
        if self.told_revision != revision {
            self.pending.revision.clone_from(&revision);
            self.told_revision = revision;
        }
    }

    /// The object with its name; one that cannot be read is refused.
    fn readable<K>(
        &mut self,
        kind: Kind,
        object: Read<K>,
        metadata: fn(&K) -> &ObjectMeta,
    ) -> Option<(ObjectName, K)> {
        let name = |metadata: &ObjectMeta| {
            if kind.is_namespaced() {
                convert::namespaced(metadata)
            } else {
                convert::unnamespaced(metadata).map(|name| ObjectName::new("", name))
            }
        };
        let (name, object) = match object {
            Ok(object) => (name(metadata(&object)), Ok(object)),
            Err(unreadable) => (name(&unreadable.metadata), Err(unreadable)),
        };
        // No API server has an object without a proper name.
        let name = name.ok()?;
        match object {
            Ok(object) => Some((name, object)),
            Err(unreadable) => {
                let reason = format!("it cannot be read ({}): correct it", unreadable.error);
                self.refuse_with(kind, &name, unreadable.field, reason);
                None
            }
        }
    }

    fn refuse(&mut self, kind: Kind, name: &ObjectName, error: FieldError) {
        self.refuse_with(kind, name, error.field, error.problem.to_string());
    }

    fn refuse_with(&mut self, kind: Kind, name: &ObjectName, field: String, reason: String) {
        if let Some(known) = self.known(kind) {
            known.keep(name);
        }
        let object = display_name(kind, name);
        let refusal = Refusal {
            file: None,
            line: None,
            kind: Some(kind),
            object: object.clone(),
            field,
            reason,
        };
        if self.refusals.get(&(kind, object.clone())) == Some(&refusal) {
            return;
        }
        self.settle(kind, name);
        self.pending.refusals.push(refusal.clone());
        self.refusals.insert((kind, object), refusal);
    }

    fn settle(&mut self, kind: Kind, name: &ObjectName) {
        // Most objects were never refused.
        if self.refusals.is_empty() {
            return;
        }
        let key = (kind, display_name(kind, name));
        let Some(refusal) = self.refusals.remove(&key) else {
            return;
        };
        let waiting = &mut self.pending.refusals;
        match waiting.iter().position(|waits| *waits == refusal) {
            Some(index) => {
                waiting.remove(index);
            }
            None => self.pending.settled.push(refusal),
        }
    }
}

fn display_name(kind: Kind, name: &ObjectName) -> String {
    if kind.is_namespaced() {
        name.to_string()
    } else {
        Arc::clone(&name.name).to_string()
    }
}

#[cfg(test)]
mod tests;
