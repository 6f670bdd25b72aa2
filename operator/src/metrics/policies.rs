//! How policies fare, as their statuses say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sluice_crds::v1alpha1::conditions::{READY, STALLED};

use crate::objects::Policy;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodesLabel {
    policy: String,
    state: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PolicyMetrics {
    nodes: Family<NodesLabel, Gauge>,
    ready: Family<PolicyLabel, Gauge>,
    stalled: Family<PolicyLabel, Gauge>,
    /// Those that have values.
    known: Mutex<BTreeSet<Arc<str>>>,
}

impl PolicyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "policy_nodes",
            "Nodes of each policy: matched, updated to its newest revision, ready",
            self.nodes.clone(),
        );
        registry.register(
            "policy_ready",
            "A policy's nodes that can be reached and have an agent have its newest revision, and are ready (1)",
            self.ready.clone(),
        );
        registry.register(
            "policy_stalled",
            "A policy's nodes do not get where they shall without somebody (1)",
            self.stalled.clone(),
        );
    }

    pub(super) fn set<'a>(&self, policies: impl Iterator<Item = &'a Policy>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        for Policy { name, status, .. } in policies {
            for (state, nodes) in [
                ("matched", status.matched_nodes),
                ("updated", status.updated_nodes),
                ("ready", status.ready_nodes),
            ] {
                let gauge = self.nodes.get_or_create(&nodes_label(name, state));
                gauge.set(nodes.unwrap_or_default().into());
            }
            for (gauges, kind) in [(&self.ready, READY), (&self.stalled, STALLED)] {
                let mut conditions = status.conditions.iter();
                let is_so = conditions.any(|one| one.type_ == kind && one.status == "True");
                gauges.get_or_create(&policy_label(name)).set(is_so.into());
            }
            known.insert(Arc::clone(name));
        }
        for name in before.difference(&known) {
            for state in ["matched", "updated", "ready"] {
                self.nodes.remove(&nodes_label(name, state));
            }
            for gauges in [&self.ready, &self.stalled] {
                gauges.remove(&policy_label(name));
            }
        }
    }
}

fn policy_label(policy: &str) -> PolicyLabel {
    PolicyLabel {
        policy: policy.to_owned(),
    }
}

fn nodes_label(policy: &str, state: &'static str) -> NodesLabel {
    NodesLabel {
        policy: policy.to_owned(),
        state,
    }
}
