//! A scene's objects, as an API server takes them.

use serde_json::{Value, json};
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Family, NodeFacts, Service, ServiceType, SliceEndpoint,
    TrafficPolicy,
};

/// The collection of nodes.
pub(crate) const NODES: &str = "/api/v1/nodes";

/// An object and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// The path of its collection.
    pub(crate) collection: String,
    pub(crate) name: String,
    pub(crate) body: Value,
    /// What only the subresource `status` takes.
    pub(crate) status: Option<Value>,
}

impl Object {
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    /// One cannot become the other by a change: a field differs that an API server lets nobody change.
    pub(crate) fn is_another_than(&self, other: &Self) -> bool {
        ["/spec/type", "/spec/clusterIPs", "/addressType"]
            .iter()
            .any(|field| self.body.pointer(field) != other.body.pointer(field))
    }
}

pub(crate) fn service(service: &Service) -> Object {
    let name = &service.name;
    let kind = match service.kind {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::ExternalName => "ExternalName",
    };
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.as_str().to_uppercase();
            let mut object = json!({"name": *port.name, "protocol": protocol, "port": port.port});
            if let Some(node_port) = port.node_port {
                object["nodePort"] = json!(node_port);
            }
            object
        })
        .collect();
    let mut spec = json!({
        "type": kind,
        "externalIPs": service.external_ips,
        "ports": ports,
        "internalTrafficPolicy": policy(service.internal_policy),
    });
    if service.cluster_ips.is_empty() {
        spec["clusterIP"] = json!("None");
    } else {
        let families: Vec<&str> = service
            .cluster_ips
            .iter()
            .map(|&ip| family(Family::of(ip)))
            .collect();
        let stacks = ["SingleStack", "RequireDualStack"][usize::from(families.len() > 1)];
        spec["clusterIP"] = json!(service.cluster_ips[0]);
        spec["clusterIPs"] = json!(service.cluster_ips);
        spec["ipFamilies"] = json!(families);
        spec["ipFamilyPolicy"] = json!(stacks);
    }
    if service.kind != ServiceType::ClusterIp || !service.external_ips.is_empty() {
        spec["externalTrafficPolicy"] = json!(policy(service.external_policy));
    }
    if service.kind == ServiceType::LoadBalancer {
        spec["allocateLoadBalancerNodePorts"] = json!(false);
        spec["loadBalancerSourceRanges"] = json!(service.source_ranges);
    }
    if let Some(seconds) = service.affinity_seconds {
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    let ingress: Vec<Value> = service
        .load_balancer_ips
        .iter()
        .map(|ip| json!({"ip": ip}))
        .collect();
    let status = (!ingress.is_empty()).then(|| json!({"loadBalancer": {"ingress": ingress}}));
    Object {
        collection: format!("/api/v1/namespaces/{}/services", name.namespace),
        name: name.name.to_string(),
        body: json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": *name.name, "namespace": *name.namespace, "labels": service.labels},
            "spec": spec,
        }),
        status,
    }
}

pub(crate) fn slice(slice: &EndpointSlice) -> Object {
    let namespace = &slice.name.namespace;
    // Names of objects have no capitals.
    let name = slice.name.name.to_lowercase();
    let mut labels = json!({"kubernetes.io/service-name": *slice.service});
    if slice.headless {
        labels["service.kubernetes.io/headless"] = json!("");
    }
    let ports: Vec<Value> = slice
        .ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.as_str().to_uppercase();
            json!({"name": *port.name, "protocol": protocol, "port": port.port})
        })
        .collect();
    let of_names = slice.address_type == AddressType::Fqdn;
    let endpoints: Vec<Value> = slice
        .endpoints
        .iter()
        .map(|one| endpoint(one, of_names))
        .collect();
    let address_type = match slice.address_type {
        AddressType::Ipv4 => "IPv4",
        AddressType::Ipv6 => "IPv6",
        AddressType::Fqdn => "FQDN",
    };
    Object {
        collection: format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
        body: json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": **namespace, "labels": labels},
            "addressType": address_type,
            "ports": ports,
            "endpoints": endpoints,
        }),
        name,
        status: None,
    }
}

fn endpoint(endpoint: &SliceEndpoint, is_name: bool) -> Value {
    let address = if is_name {
        json!("endpoint.example")
    } else {
        json!(endpoint.address)
    };
    let mut object = json!({
        "addresses": [address],
        "conditions": {
            "ready": endpoint.ready,
            "serving": endpoint.serving,
            "terminating": endpoint.terminating,
        },
        "nodeName": endpoint.node.as_deref(),
        "zone": endpoint.zone.as_deref(),
    });
    if let Some(hints) = &endpoint.hints {
        let named = |names: &[std::sync::Arc<str>]| -> Vec<Value> {
            names.iter().map(|name| json!({"name": **name})).collect()
        };
        object["hints"] = json!({"forZones": named(&hints.zones), "forNodes": named(&hints.nodes)});
    }
    object
}

pub(crate) fn node(facts: &NodeFacts) -> Object {
    let mut labels = json!({});
    if let Some(zone) = &facts.zone {
        labels["topology.kubernetes.io/zone"] = json!(**zone);
    }
    let addresses: Vec<Value> = facts
        .internal_ips
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    Object {
        collection: NODES.to_owned(),
        name: facts.name.to_string(),
        body: json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": *facts.name, "labels": labels},
            "spec": {"podCIDR": facts.pod_cidrs.first(), "podCIDRs": facts.pod_cidrs},
        }),
        status: Some(json!({"addresses": addresses})),
    }
}

fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}
