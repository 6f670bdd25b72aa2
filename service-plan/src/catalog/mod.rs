//! Keeps the objects of the cluster and re-plans what a change touches.

mod claims;
mod endpoints;
mod frontends;
mod interner;
mod labels;
mod objects;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::claims::Claims;
use self::frontends::{cluster_ip_masquerade, is_proxied, request};
use self::objects::{Objects, Spec};
use self::service::ServiceScope;
use crate::model::{EndpointSlice, NodeFacts, ObjectName, Service, Settings};
use crate::plan::{Plan, PlanChange, ServiceChange, ServicePlans};

/// The objects of the cluster, and the plan made of them.
///
/// Objects may come in any order. A change of one service or slice costs what that service costs, however many there
/// are; the plan follows when [`take_changes`](Self::take_changes) is called, once for any number of changes.
#[derive(Debug)]
pub struct Catalog {
    node: Arc<NodeFacts>,
    settings: Arc<Settings>,
    objects: Objects,
    claims: Claims,
    dirty: BTreeSet<ObjectName>,
    node_or_settings: bool,
    plan: Plan,
}

impl Catalog {
    /// An empty catalog for a node. Its first [`PlanChange`] says that node and settings are new.
    pub fn new(node: NodeFacts, settings: Settings) -> Self {
        let (node, settings) = (Arc::new(node), Arc::new(settings));
        Self {
            plan: Plan {
                node: node.clone(),
                settings: settings.clone(),
                services: ServicePlans::new(),
            },
            node,
            settings,
            objects: Objects::default(),
            claims: Claims::default(),
            dirty: BTreeSet::new(),
            node_or_settings: true,
        }
    }

    /// Adds a service or replaces its earlier version.
    pub fn set_service(&mut self, service: Service) {
        if !is_proxied(&service) {
            self.remove_service(&service.name);
            return;
        }
        let name = service.name.clone();
        let spec = Spec::from(service);
        let former = self.objects.service(&name);
        if former.is_some_and(|(_, former)| *former == spec) {
            return;
        }
        let former = former.map(request);
        self.claims.replace(
            former.as_ref(),
            Some(&request((&name, &spec))),
            &mut self.dirty,
        );
        self.dirty.insert(name.clone());
        self.objects.put_service(name, spec);
    }

    /// Removes a service. Its slices stay known: it may come back.
    pub fn remove_service(&mut self, name: &ObjectName) {
        let Some(former) = self.objects.service(name).map(request) else {
            return;
        };
        self.claims.replace(Some(&former), None, &mut self.dirty);
        self.dirty.insert(name.clone());
        self.objects.remove_service(name);
    }

    /// Adds a slice or replaces its earlier version, which may have been another service's.
    pub fn set_slice(&mut self, slice: EndpointSlice) {
        self.dirty
            .extend(self.objects.put_slice(slice).into_iter().flatten());
    }

    /// Removes a slice.
    pub fn remove_slice(&mut self, name: &ObjectName) {
        self.dirty.extend(self.objects.remove_slice(name));
    }

    /// Replaces the facts of the node.
    pub fn set_node(&mut self, node: NodeFacts) {
        if *self.node == node {
            return;
        }
        self.node_or_settings = true;
        if node.name != self.node.name || node.zone != self.node.zone {
            self.mark_all();
        }
        self.node = Arc::new(node);
    }

    /// Replaces the settings.
    pub fn set_settings(&mut self, settings: Settings) {
        if *self.settings == settings {
            return;
        }
        self.node_or_settings = true;
        if cluster_ip_masquerade(&settings) != cluster_ip_masquerade(&self.settings)
            || settings.endpoint_weights != self.settings.endpoint_weights
            || settings.service_overrides != self.settings.service_overrides
        {
            self.mark_all();
        }
        self.settings = Arc::new(settings);
    }

    /// Brings the plan up to date, and tells what differs since the last call.
    pub fn take_changes(&mut self) -> PlanChange {
        self.plan.node = self.node.clone();
        self.plan.settings = self.settings.clone();
        let services = std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|name| self.replan(name))
            .collect();
        PlanChange {
            services,
            node_or_settings: std::mem::take(&mut self.node_or_settings),
        }
    }

    /// The plan as of the last [`take_changes`](Self::take_changes).
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn replan(&mut self, name: ObjectName) -> Option<ServiceChange> {
        let after = self.objects.service(&name).and_then(|(name, service)| {
            let scope = ServiceScope {
                name,
                service,
                slices: self.objects.slices(name),
                claims: &self.claims,
                node: &self.node,
                settings: &self.settings,
            };
            scope.plan()
        });
        if self.plan.services.get(&name).map(|before| &**before) == after.as_ref() {
            return None;
        }
        let after = after.map(Arc::new);
        let before = match &after {
            Some(after) => self.plan.services.insert(after.clone()),
            None => self.plan.services.remove(&name),
        };
        Some(ServiceChange {
            name,
            before,
            after,
        })
    }

    fn mark_all(&mut self) {
        self.dirty.extend(self.objects.service_names().cloned());
    }
}
