//! What the API server holds of Sluice.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use kube::api::ListParams;
use sluice_crds::v1alpha1::{NodeServiceProxy, ServiceProxyPolicy};

use crate::cluster::Cluster;
use crate::error::PluginError;

/// Labels of the agents' pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=sluice,app.kubernetes.io/component=agent";
/// Name of the operators' lease.
pub(super) const LEASE: &str = "sluice-operator";

/// See the module.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) policies: Vec<ServiceProxyPolicy>,
    pub(super) proxies: Vec<NodeServiceProxy>,
    pub(super) nodes: Vec<Node>,
    /// Pods of agents, or why they are not known. They help, but who may not see them is told the rest.
    pub(super) agents: Result<Vec<Pod>, String>,
    /// All services, or why they are not known.
    pub(super) services: Result<Vec<Service>, String>,
    /// The operators' leases of all namespaces, or why they are not known.
    pub(super) leases: Result<Vec<Lease>, String>,
}

impl Observed {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self, PluginError> {
        let client = || cluster.client.clone();
        let (pods, leases, nodes) = (Api::all(client()), Api::all(client()), Api::all(client()));
        let services = Api::all(client());
        let by_label = ListParams::default().labels(AGENTS);
        let by_name = ListParams::default().fields(&format!("metadata.name={LEASE}"));
        let policies = cluster.list_own("serviceproxypolicies").await?;
        let proxies = cluster.list_own("nodeserviceproxies").await?;
        let nodes = cluster.list(&nodes, "nodes", ListParams::default()).await?;
        let words = |error: PluginError| error.to_string();
        Ok(Self {
            policies,
            proxies,
            nodes,
            agents: cluster.list(&pods, "pods", by_label).await.map_err(words),
            services: cluster
                .list(&services, "services", ListParams::default())
                .await
                .map_err(words),
            leases: cluster
                .list(&leases, "leases", by_name)
                .await
                .map_err(words),
        })
    }
}
