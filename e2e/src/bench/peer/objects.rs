//! Services and slices at a real API server, many at a time.

use std::net::Ipv4Addr;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bench::{BenchError, Size, api, cluster};
use crate::lab::places::{NODE, Place};

const NAMESPACE: &str = "bench";
/// The service whose endpoint answers, and changes.
const PROBED: &str = "probed";
/// Its address, after those of the others.
pub(super) const PROBED_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 255, 1);

/// Writes objects as an administrator.
pub(super) struct Objects {
    runtime: Runtime,
    client: Client,
}

impl Objects {
    /// Connects by the administrator's kubeconfig.
    pub(super) fn connect(kubeconfig: &Path) -> Result<Self, BenchError> {
        let (runtime, client) = api::connect(kubeconfig)?;
        Ok(Self { runtime, client })
    }

    /// Makes the node, a cluster of this size, and the service that is probed, with this endpoint.
    pub(super) fn create(&self, size: Size, endpoint: &Place) -> Result<(), BenchError> {
        self.runtime.block_on(async {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            let namespace = api::object(json!({"metadata": {"name": NAMESPACE}}))?;
            api::done(namespaces.create(&PostParams::default(), &namespace).await)?;
            let nodes: Api<Node> = Api::all(self.client.clone());
            let node = json!({
                "metadata": {"name": cluster::NODE_NAME},
                "spec": {"podCIDRs": ["10.244.0.0/24"], "podCIDR": "10.244.0.0/24"},
            });
            let node = api::object(node)?;
            api::done(nodes.create(&PostParams::default(), &node).await)?;
            // kube-proxy waits for it, half a minute long.
            let addresses = json!({"addresses": [{"type": "InternalIP", "address": NODE.v4}]});
            let status = Patch::Merge(json!({"status": addresses}));
            let merge = PatchParams::default();
            api::done(nodes.patch_status(cluster::NODE_NAME, &merge, &status).await)?;
            let index = |index: u32| async move {
                let name = format!("service-{index}");
                self.create_service(&name, address(index)).await?;
                let endpoints: Vec<Value> = cluster::made_up(index, size.endpoints)
                    .into_iter()
                    .map(|(address, here)| {
                        let node = if here { cluster::NODE_NAME } else { "another" };
                        json!({"addresses": [address], "conditions": {"ready": true}, "nodeName": node})
                    })
                    .collect();
                self.put_slice(&name, &endpoints).await
            };
            stream::iter((0..size.services).map(index))
                .buffer_unordered(api::AT_ONCE)
                .try_collect::<()>()
                .await?;
            self.create_service(PROBED, PROBED_ADDRESS).await?;
            self.put_slice(PROBED, &[serving(endpoint)]).await
        })
    }

    /// Gives the probed service another endpoint; returns when the API server has it.
    pub(super) fn move_probed(&self, endpoint: &Place) -> Result<(), BenchError> {
        self.runtime
            .block_on(self.put_slice(PROBED, &[serving(endpoint)]))
    }

    /// Gives one of the others an endpoint that it did not have, told by `round`.
    pub(super) fn change(&self, index: u32, size: Size, round: u32) -> Result<(), BenchError> {
        let mut endpoints = cluster::made_up(index, size.endpoints);
        endpoints[0].0 = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 250, 0, 1)) + round).into();
        let endpoints: Vec<Value> = endpoints
            .into_iter()
            .map(|(address, _)| json!({"addresses": [address], "conditions": {"ready": true}}))
            .collect();
        let name = format!("service-{index}");
        self.runtime.block_on(self.put_slice(&name, &endpoints))
    }

    async fn create_service(&self, name: &str, address: Ipv4Addr) -> Result<(), BenchError> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), NAMESPACE);
        let service = api::object(json!({
            "metadata": {"name": name},
            "spec": {
                "clusterIP": address,
                "ports": [{"name": "http", "protocol": "TCP", "port": cluster::PORT}],
            },
        }))?;
        api::done(services.create(&PostParams::default(), &service).await)
    }

    async fn put_slice(&self, service: &str, endpoints: &[Value]) -> Result<(), BenchError> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), NAMESPACE);
        let name = format!("{service}-1");
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": endpoints,
        });
        let parameters = PatchParams::apply("bench").force();
        api::done(slices.patch(&name, &parameters, &Patch::Apply(slice)).await)
    }
}

/// The address of a service of the cluster, within the 16 bits that the lab's API server has for them.
fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 1, 0)) + index)
}

fn serving(place: &Place) -> Value {
    let node = if place.v4 == NODE.v4 {
        "another"
    } else {
        cluster::NODE_NAME
    };
    json!({"addresses": [place.v4], "conditions": {"ready": true}, "nodeName": node})
}
