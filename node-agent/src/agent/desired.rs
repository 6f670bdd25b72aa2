//! What this node should do, as far as is known: the catalog, and what it is told of node and policy.

use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::NodeFacts;
use sluice_service_plan::plan::{Plan, PlanChange};

use super::inbox::Batch;
use super::node_addresses;
use super::node_network::NodeNetwork;
use crate::settings::{NodeNetworks, NodeSettings};
use crate::source::Revision;

/// Objects, node and policy, and the plan made of them.
#[derive(Debug)]
pub struct Desired {
    catalog: Catalog,
    node: NodeFacts,
    network: NodeNetwork,
    health_port: Option<u16>,
    policy: ServiceProxyPolicySpec,
    revision: Option<Revision>,
    settings: NodeSettings,
}

impl Default for Desired {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Desired {
    /// Nothing is known yet but the port on which this agent tells the node's health on every address, where it does.
    pub fn new(health_port: Option<u16>) -> Self {
        let (node, policy) = (NodeFacts::default(), ServiceProxyPolicySpec::default());
        let settings = NodeSettings::resolve(&policy, NodeNetworks::default());
        Self {
            catalog: Catalog::new(node.clone(), settings.plan.clone()),
            node,
            network: NodeNetwork::default(),
            health_port,
            policy,
            revision: None,
            settings,
        }
    }

    /// Whether it brings other settings, or a revision of them that is not in force.
    pub fn is_new_settings(&self, batch: &Batch) -> bool {
        let policy = batch.policy.as_ref();
        let revision = batch.revision.as_ref();
        policy.is_some_and(|policy| *policy != self.policy)
            || revision.is_some_and(|revision| Some(revision) != self.revision.as_ref())
    }

    /// Takes in what changed. Returns whether it touched the node or the settings.
    pub fn absorb(&mut self, batch: Batch) -> bool {
        for (name, service) in batch.services {
            match service {
                Some(service) => self.catalog.set_service(service),
                None => self.catalog.remove_service(&name),
            }
        }
        for (name, slice) in batch.slices {
            match slice {
                Some(slice) => self.catalog.set_slice(slice),
                None => self.catalog.remove_slice(&name),
            }
        }
        let touched = batch.node.is_some() || batch.network.is_some() || batch.policy.is_some();
        self.node = batch.node.unwrap_or(std::mem::take(&mut self.node));
        self.network = batch.network.unwrap_or(std::mem::take(&mut self.network));
        self.policy = batch.policy.unwrap_or(std::mem::take(&mut self.policy));
        self.revision = batch.revision.or(self.revision.take());
        if touched {
            self.resolve();
        }
        touched
    }

    /// The node's facts decide what `Auto` means in a policy.
    fn resolve(&mut self) {
        self.node.addresses.clone_from(&self.network.addresses);
        self.node.health_port = self.health_port;
        let networks = NodeNetworks {
            pod_cidrs: &self.node.pod_cidrs,
            addresses: &self.network.addresses,
            routes: &self.network.routes,
        };
        self.settings = NodeSettings::resolve(&self.policy, networks);
        self.catalog.set_settings(self.settings.plan.clone());
        self.catalog.set_node(self.node.clone());
    }

    /// What the plan gained since the last call.
    pub fn take_changes(&mut self) -> PlanChange {
        self.catalog.take_changes()
    }

    /// The plan as of [`take_changes`](Self::take_changes).
    pub fn plan(&self) -> &Plan {
        self.catalog.plan()
    }

    /// Facts of the node, present addresses and health port included.
    pub fn node(&self) -> &NodeFacts {
        &self.node
    }

    /// The settings in force.
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// Whose settings are in force.
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// What of the settings this node cannot do as asked, in sentences.
    pub fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if self.settings.local_detection.needs_attention {
            conditions.push(self.settings.local_detection.reason.clone());
        }
        conditions.extend(node_addresses::conditions(&self.node, &self.settings.plan));
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(address: &str) -> Batch {
        let network = NodeNetwork {
            addresses: vec![address.parse().unwrap()],
            ..NodeNetwork::default()
        };
        Batch {
            network: Some(network),
            ..Batch::default()
        }
    }

    #[test]
    fn what_a_source_tells_of_the_node_leaves_the_agents_own_port() {
        let mut desired = Desired::new(Some(10_256));
        let node = NodeFacts {
            name: "n1".into(),
            ..NodeFacts::default()
        };
        desired.absorb(Batch {
            node: Some(node),
            ..Batch::default()
        });
        desired.take_changes();
        assert_eq!(&*desired.plan().node.name, "n1");
        assert_eq!(desired.plan().node.health_port, Some(10_256));
    }

    #[test]
    fn a_source_nat_address_that_the_node_lacks_is_a_condition_until_it_comes() {
        let mut desired = Desired::default();
        let mut policy = ServiceProxyPolicySpec::default();
        policy.source_nat.snat.address_cidrs = vec!["192.0.2.0/24".parse().unwrap()];
        desired.absorb(Batch {
            policy: Some(policy),
            ..Batch::default()
        });
        desired.absorb(holding("198.51.100.7"));
        let is_about_snat = |c: &String| c.contains("snat.addressCIDRs");
        assert!(desired.conditions().iter().any(is_about_snat));
        desired.absorb(holding("192.0.2.7"));
        assert!(!desired.conditions().iter().any(is_about_snat));
        assert_eq!(desired.node().addresses.len(), 1);
    }

    #[test]
    fn a_class_of_pods_whose_addresses_the_node_lacks_is_a_condition() {
        let mut desired = Desired::default();
        let mut policy = ServiceProxyPolicySpec::default();
        policy.source_nat.pod_classes = serde_json::from_str(
            r#"[{"name": "chosen", "action": "SNAT", "snat": {"addressCIDRs": ["192.0.2.0/24"]}}]"#,
        )
        .unwrap();
        desired.absorb(Batch {
            policy: Some(policy),
            ..Batch::default()
        });
        desired.absorb(holding("198.51.100.7"));
        let is_about_it = |c: &String| c.contains("pod class chosen");
        assert!(desired.conditions().iter().any(is_about_it));
        desired.absorb(holding("192.0.2.7"));
        assert!(!desired.conditions().iter().any(is_about_it));
    }
}
