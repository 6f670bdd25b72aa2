//! Objects as files have them.

use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_service_plan::model::{EndpointSlice, ObjectName, Service};

use super::super::Kind;
use sluice_plan_input::convert::NodeObject;

/// What an object is told from others by. The namespace is empty for kinds that have none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectKey {
    pub(super) kind: Kind,
    pub(super) name: ObjectName,
}

impl ObjectKey {
    pub(super) fn unnamespaced(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: ObjectName::new("", name),
        }
    }

    /// The name as people write it.
    pub(super) fn display_name(&self) -> String {
        if self.kind.is_namespaced() {
            self.name.to_string()
        } else {
            self.name.name.to_string()
        }
    }
}

/// A policy object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) name: Arc<str>,
    /// Seconds since the epoch; zero when it does not say.
    pub(super) created: i64,
    pub(super) spec: ServiceProxyPolicySpec,
}

/// An object that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    Service(Service),
    /// With the time of what caused its last change, if it tells.
    EndpointSlice(EndpointSlice, Option<Timestamp>),
    Node(Box<NodeObject>),
    Policy(Box<Policy>),
}

impl Object {
    pub(super) fn key(&self) -> ObjectKey {
        match self {
            Self::Service(service) => ObjectKey {
                kind: Kind::Service,
                name: service.name.clone(),
            },
            Self::EndpointSlice(slice, _) => ObjectKey {
                kind: Kind::EndpointSlice,
                name: slice.name.clone(),
            },
            Self::Node(node) => ObjectKey::unnamespaced(Kind::Node, &node.facts.name),
            Self::Policy(policy) => ObjectKey::unnamespaced(Kind::ServiceProxyPolicy, &policy.name),
        }
    }
}
