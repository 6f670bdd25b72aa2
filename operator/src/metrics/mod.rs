//! What the operator counts.

mod policies;

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sluice_api_access::Requests;

use crate::objects::Policy;
use crate::snapshot::Counts;
use policies::PolicyMetrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    kind: &'static str,
    result: &'static str,
}

/// All metrics of the operator.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    leader: Gauge,
    policies: Gauge,
    nodes: Gauge,
    nodes_with_agent: Gauge,
    services: Gauge,
    writes: Family<WriteLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    of_policies: PolicyMetrics,
    requests: Requests,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let registry = metrics.registry.sub_registry_with_prefix("sluice_operator");
        registry.register("leader", "This replica leads (1)", metrics.leader.clone());
        registry.register("policies", "ServiceProxyPolicies", metrics.policies.clone());
        registry.register("nodes", "Nodes", metrics.nodes.clone());
        registry.register(
            "nodes_with_agent",
            "Nodes that can be reached and whose agent has reported at least once",
            metrics.nodes_with_agent.clone(),
        );
        registry.register(
            "services",
            "Services that are proxied",
            metrics.services.clone(),
        );
        registry.register(
            "writes",
            "Writes to the API server, by what and how they ended",
            metrics.writes.clone(),
        );
        registry.register(
            "watch_errors",
            "Errors of watches, by kind",
            metrics.watch_errors.clone(),
        );
        metrics.of_policies.register(registry);
        let api = registry.sub_registry_with_prefix("api");
        metrics.requests.register(api);
        metrics
    }

    /// Requests, where clients count them.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn set_counts(&self, counts: Counts) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.policies.set(number(counts.policies));
        self.nodes.set(number(counts.nodes));
        self.nodes_with_agent.set(number(counts.nodes_with_agent));
        self.services.set(number(counts.services));
    }

    /// Says how policies fare; what was said of others is forgotten.
    pub(crate) fn set_policies<'a>(&self, policies: impl Iterator<Item = &'a Policy>) {
        self.of_policies.set(policies);
    }

    pub(crate) fn count_write(&self, kind: &'static str, went_well: bool) {
        let result = if went_well { "ok" } else { "failed" };
        self.writes
            .get_or_create(&WriteLabel { kind, result })
            .inc();
    }

    pub(crate) fn count_watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// The text of a scrape, in `OpenMetrics` 1.0.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

    use super::*;
    use crate::cluster::StoredProxy;
    use crate::objects::Node;
    use crate::snapshot::Snapshot;

    fn policy(name: &str, ready: &str, stalled: &str) -> Policy {
        let conditions = [("Ready", ready), ("Stalled", stalled)].map(|(kind, status)| {
            json!({
                "type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        });
        let status = json!({"matchedNodes": 3, "updatedNodes": 2, "readyNodes": 1, "conditions": conditions});
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        let spec = Ok(ServiceProxyPolicySpec::default());
        Policy::of(metadata, spec, serde_json::from_value(status).unwrap()).unwrap()
    }

    #[test]
    fn policies_are_told_of_as_long_as_they_are_there() {
        let metrics = Metrics::new();
        let edge = policy("edge", "False", "True");
        let core = policy("core", "True", "False");
        metrics.set_policies([edge, core.clone()].iter());
        let text = metrics.text().unwrap();
        for line in [
            "sluice_operator_policy_nodes{policy=\"edge\",state=\"matched\"} 3",
            "sluice_operator_policy_nodes{policy=\"edge\",state=\"updated\"} 2",
            "sluice_operator_policy_nodes{policy=\"edge\",state=\"ready\"} 1",
            "sluice_operator_policy_ready{policy=\"edge\"} 0",
            "sluice_operator_policy_ready{policy=\"core\"} 1",
            "sluice_operator_policy_stalled{policy=\"edge\"} 1",
            "sluice_operator_policy_stalled{policy=\"core\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.set_policies([core].iter());
        let text = metrics.text().unwrap();
        assert!(text.contains("core") && !text.contains("edge"), "{text}");
    }

    #[test]
    fn a_node_has_an_agent_once_one_has_reported_as_long_as_it_can_be_reached() {
        let reported = json!({"capabilities": {"kernel": "6.1.0", "ipvs": true}});
        let mut snapshot = Snapshot::default();
        for (name, ready, owner, status) in [
            ("good", "True", "good", &reported),
            ("away", "Unknown", "away", &reported),
            ("silent", "True", "silent", &json!({})),
            ("anew", "True", "an-earlier-node", &reported),
        ] {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            let node = json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions}});
            let node = Node::of(serde_json::from_value(node).unwrap()).unwrap();
            snapshot.set_node(node, Timestamp::UNIX_EPOCH);
            let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner}]);
            let proxy =
                json!({"metadata": {"name": name, "ownerReferences": owner}, "status": status});
            let proxy: StoredProxy = serde_json::from_value(proxy).unwrap();
            snapshot.set_proxy(&Arc::from(name), proxy.read(), Timestamp::UNIX_EPOCH);
        }
        let metrics = Metrics::new();
        metrics.set_counts(snapshot.counts());
        let text = metrics.text().unwrap();
        for line in [
            "sluice_operator_nodes 4",
            "sluice_operator_nodes_with_agent 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn alerts_and_dashboard_go_by_metrics_that_there_are() {
        let metrics = Metrics::new();
        metrics.set_policies([policy("edge", "True", "False")].iter());
        let text = metrics.text().unwrap();
        for (file, least) in [
            (include_str!("../../../charts/sluice/files/alerts.yaml"), 4),
            (
                include_str!("../../../charts/sluice/files/dashboard.json"),
                2,
            ),
        ] {
            let rules = file
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'));
            let words =
                rules.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
            let ours: Vec<&str> = words
                .filter(|word| word.starts_with("sluice_operator_"))
                .collect();
            assert!(ours.len() >= least, "{ours:?}");
            for name in ours {
                let is_there = text.lines().any(|line| line.starts_with(name));
                assert!(is_there, "{name} is missing in\n{text}");
            }
        }
    }
}
