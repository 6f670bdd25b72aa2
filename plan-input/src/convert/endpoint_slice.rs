//! Endpoint slices.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1 as k8s;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Family, Hints, SliceEndpoint, SlicePort,
};

use super::addresses::reachable_address;
use super::error::{FieldError, Problem};
use super::names::{check_label, namespaced};
use super::service::{protocol, required_port, unknown};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const CAUSE_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// When what caused the slice's last change happened, if it tells. A time that cannot be read tells nothing: nothing but a metric goes by it.
pub fn cause(object: &k8s::EndpointSlice) -> Option<Timestamp> {
    let annotations = object.metadata.annotations.as_ref()?;
    annotations.get(CAUSE_ANNOTATION)?.parse().ok()
}

/// Reduces an `EndpointSlice` to the fields that matter.
pub fn endpoint_slice(object: k8s::EndpointSlice) -> Result<EndpointSlice, FieldError> {
    let name = namespaced(&object.metadata)?;
    let labels = object.metadata.labels.unwrap_or_default();
    let service = labels
        .get(SERVICE_LABEL)
        .map(String::as_str)
        .unwrap_or_default();
    if service.is_empty() {
        return Err(FieldError::new("metadata.labels", Problem::NoServiceLabel));
    }
    let address_type = match object.address_type.as_str() {
        "IPv4" => AddressType::Ipv4,
        "IPv6" => AddressType::Ipv6,
        "FQDN" => AddressType::Fqdn,
        other => return Err(unknown("addressType", other, "IPv4, IPv6 or FQDN")),
    };
    Ok(EndpointSlice {
        name,
        service: Arc::from(service),
        headless: labels.contains_key(HEADLESS_LABEL),
        address_type,
        ports: ports(object.ports.as_deref().unwrap_or_default())?,
        endpoints: endpoints(&object.endpoints, address_type)?,
    })
}

/// The ports that have a name (the empty one counts) and a number.
fn ports(ports: &[k8s::EndpointPort]) -> Result<Vec<SlicePort>, FieldError> {
    let mut read = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let (Some(name), Some(number)) = (port.name.as_deref(), port.port) else {
            continue;
        };
        let field = |name: &str| format!("ports[{index}].{name}");
        if !name.is_empty() {
            check_label(name, || field("name"))?;
        }
        read.push(SlicePort {
            name: Arc::from(name),
            protocol: protocol(port.protocol.as_deref(), || field("protocol"))?,
            port: required_port(number, || field("port"))?,
        });
    }
    Ok(read)
}

fn endpoints(
    endpoints: &[k8s::Endpoint],
    address_type: AddressType,
) -> Result<Vec<SliceEndpoint>, FieldError> {
    let family = match address_type {
        AddressType::Ipv4 => Family::V4,
        AddressType::Ipv6 => Family::V6,
        AddressType::Fqdn => return Ok(Vec::new()),
    };
    let mut read = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let field = || format!("endpoints[{index}].addresses");
        let first = endpoint
            .addresses
            .first()
            .ok_or_else(|| FieldError::new(field(), Problem::Empty("the endpoint's address")))?;
        let address = reachable_address(first, || format!("{}[0]", field()))?;
        if Family::of(address) == family {
            read.push(slice_endpoint(endpoint, address));
        }
    }
    Ok(read)
}

fn slice_endpoint(endpoint: &k8s::Endpoint, address: IpAddr) -> SliceEndpoint {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    SliceEndpoint {
        address,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node: endpoint.node_name.as_deref().map(Arc::from),
        zone: endpoint.zone.as_deref().map(Arc::from),
        hints: endpoint.hints.as_ref().and_then(hints),
    }
}

fn hints(hints: &k8s::EndpointHints) -> Option<Box<Hints>> {
    let zones = hints
        .for_zones
        .iter()
        .flatten()
        .map(|zone| Arc::from(zone.name.as_str()));
    let nodes = hints
        .for_nodes
        .iter()
        .flatten()
        .map(|node| Arc::from(node.name.as_str()));
    let hints = Hints {
        zones: zones.collect(),
        nodes: nodes.collect(),
    };
    (hints != Hints::default()).then(|| Box::new(hints))
}
