//! Services.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use sluice_service_plan::model::{
    Family, Protocol, Service, ServicePort, ServiceType, TrafficPolicy,
};

use super::addresses::{network, reachable_address};
use super::error::{FieldError, Problem};
use super::names::{check_label, namespaced};

/// Seconds that the API server writes where `sessionAffinityConfig` does not say.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// The longest that the API server takes.
const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// Reduces a Service to the fields that matter.
pub fn service(object: k8s::Service) -> Result<Service, FieldError> {
    let name = namespaced(&object.metadata)?;
    let spec = object
        .spec
        .ok_or_else(|| FieldError::new("spec", Problem::Missing))?;
    let kind = service_type(spec.type_.as_deref())?;
    let cluster_ips = cluster_ips(&spec)?;
    let ports = ports(spec.ports.as_deref().unwrap_or_default(), kind)?;
    if ports.is_empty() && !cluster_ips.is_empty() {
        return Err(FieldError::new(
            "spec.ports",
            Problem::Empty("the ports of the service"),
        ));
    }
    Ok(Service {
        name,
        created: object
            .metadata
            .creation_timestamp
            .map_or(0, |time| time.0.as_second()),
        labels: object.metadata.labels.unwrap_or_default(),
        kind,
        cluster_ips,
        external_ips: read_list(
            spec.external_ips.as_deref(),
            "spec.externalIPs",
            |text, field| reachable_address(text, field),
        )?,
        load_balancer_ips: load_balancer_ips(object.status.as_ref()),
        source_ranges: read_list(
            spec.load_balancer_source_ranges.as_deref(),
            "spec.loadBalancerSourceRanges",
            |text, field| network(text, field),
        )?,
        internal_policy: traffic_policy(
            spec.internal_traffic_policy.as_deref(),
            "spec.internalTrafficPolicy",
        )?,
        external_policy: traffic_policy(
            spec.external_traffic_policy.as_deref(),
            "spec.externalTrafficPolicy",
        )?,
        affinity_seconds: affinity_seconds(&spec)?,
        health_check_port: optional_port(spec.health_check_node_port, || {
            "spec.healthCheckNodePort".to_owned()
        })?,
        ports,
    })
}

fn service_type(value: Option<&str>) -> Result<ServiceType, FieldError> {
    match value.unwrap_or_default() {
        "" | "ClusterIP" => Ok(ServiceType::ClusterIp),
        "NodePort" => Ok(ServiceType::NodePort),
        "LoadBalancer" => Ok(ServiceType::LoadBalancer),
        "ExternalName" => Ok(ServiceType::ExternalName),
        other => Err(unknown(
            "spec.type",
            other,
            "ClusterIP, NodePort, LoadBalancer or ExternalName",
        )),
    }
}

/// `clusterIPs`, or the older `clusterIP`; empty for `None`.
fn cluster_ips(spec: &k8s::ServiceSpec) -> Result<Vec<IpAddr>, FieldError> {
    let (texts, singular) = match spec.cluster_ips.as_deref() {
        Some(texts @ [_, ..]) => (texts, false),
        _ => (spec.cluster_ip.as_slice(), true),
    };
    let mut addresses = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if text == "None" || text.is_empty() {
            continue;
        }
        let field = || {
            if singular {
                "spec.clusterIP".to_owned()
            } else {
                format!("spec.clusterIPs[{index}]")
            }
        };
        let address = reachable_address(text, field)?;
        if addresses
            .iter()
            .any(|other| Family::of(*other) == Family::of(address))
        {
            return Err(FieldError::new(field(), Problem::SecondOfFamily(address)));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Addresses that load balancers keep as the destination. Names are not proxied, nor is what a load balancer rewrites itself (`ipMode: Proxy`, KEP-1860).
/// The status is a load balancer's: what is odd in it does not keep the rest of the service from being served.
fn load_balancer_ips(status: Option<&k8s::ServiceStatus>) -> Vec<IpAddr> {
    let ingress = status
        .and_then(|s| s.load_balancer.as_ref())
        .and_then(|l| l.ingress.as_deref())
        .unwrap_or_default();
    ingress
        .iter()
        .filter(|entry| entry.ip_mode.as_deref().unwrap_or("VIP") == "VIP")
        .filter_map(|entry| reachable_address(entry.ip.as_deref()?, String::new).ok())
        .collect()
}

fn traffic_policy(value: Option<&str>, field: &str) -> Result<TrafficPolicy, FieldError> {
    match value.unwrap_or_default() {
        "" | "Cluster" => Ok(TrafficPolicy::Cluster),
        "Local" => Ok(TrafficPolicy::Local),
        other => Err(unknown(field, other, "Cluster or Local")),
    }
}

fn affinity_seconds(spec: &k8s::ServiceSpec) -> Result<Option<u32>, FieldError> {
    match spec.session_affinity.as_deref().unwrap_or_default() {
        "" | "None" => return Ok(None),
        "ClientIP" => {}
        other => return Err(unknown("spec.sessionAffinity", other, "None or ClientIP")),
    }
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds)
        .unwrap_or(DEFAULT_AFFINITY_SECONDS);
    let field = || "spec.sessionAffinityConfig.clientIP.timeoutSeconds".to_owned();
    in_range(seconds, 1, MAX_AFFINITY_SECONDS, field).map(|seconds| Some(seconds.unsigned_abs()))
}

fn ports(ports: &[k8s::ServicePort], kind: ServiceType) -> Result<Vec<ServicePort>, FieldError> {
    let mut read: Vec<ServicePort> = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            check_label(name, || field("name"))?;
        } else if ports.len() > 1 {
            return Err(FieldError::new(field("name"), Problem::UnnamedPort));
        }
        let entry = ServicePort {
            name: Arc::from(name),
            protocol: protocol(port.protocol.as_deref(), || field("protocol"))?,
            port: required_port(port.port, || field("port"))?,
            node_port: optional_port(port.node_port, || field("nodePort"))?,
        };
        if entry.node_port.is_some() && kind == ServiceType::ClusterIp {
            return Err(FieldError::new(
                field("nodePort"),
                Problem::NodePortOfClusterIp,
            ));
        }
        check_unique(&entry, &read, field)?;
        read.push(entry);
    }
    Ok(read)
}

fn check_unique(
    entry: &ServicePort,
    others: &[ServicePort],
    field: impl Fn(&str) -> String,
) -> Result<(), FieldError> {
    let duplicate =
        |name: &str, what: String| Err(FieldError::new(field(name), Problem::Duplicate(what)));
    for other in others {
        if other.name == entry.name {
            return duplicate("name", format!("{:?}", entry.name));
        }
        if other.protocol == entry.protocol {
            if other.port == entry.port {
                return duplicate("port", format!("{}/{}", entry.port, entry.protocol));
            }
            if let Some(node_port) = entry
                .node_port
                .filter(|_| other.node_port == entry.node_port)
            {
                return duplicate("nodePort", format!("{node_port}/{}", entry.protocol));
            }
        }
    }
    Ok(())
}

/// Reads `protocol`, which is TCP where it does not say.
pub(super) fn protocol(
    value: Option<&str>,
    field: impl Fn() -> String,
) -> Result<Protocol, FieldError> {
    match value.unwrap_or_default() {
        "" | "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        other => Err(unknown(field(), other, "TCP, UDP or SCTP")),
    }
}

/// Reads a port number.
pub(super) fn required_port(value: i32, field: impl Fn() -> String) -> Result<u16, FieldError> {
    u16::try_from(value)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| {
            FieldError::new(
                field(),
                Problem::OutOfRange {
                    value,
                    first: 1,
                    last: i32::from(u16::MAX),
                },
            )
        })
}

/// Reads a port number that is absent when zero.
fn optional_port(
    value: Option<i32>,
    field: impl Fn() -> String,
) -> Result<Option<u16>, FieldError> {
    value
        .filter(|value| *value != 0)
        .map(|value| required_port(value, field))
        .transpose()
}

fn in_range(
    value: i32,
    first: i32,
    last: i32,
    field: impl Fn() -> String,
) -> Result<i32, FieldError> {
    if (first..=last).contains(&value) {
        Ok(value)
    } else {
        Err(FieldError::new(
            field(),
            Problem::OutOfRange { value, first, last },
        ))
    }
}

/// Reads each item of a list; the path of an item is `field[index]`.
fn read_list<T>(
    texts: Option<&[String]>,
    field: &str,
    read: impl Fn(&str, &dyn Fn() -> String) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let texts = texts.unwrap_or_default();
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| read(text, &|| format!("{field}[{index}]")))
        .collect()
}

pub(super) fn unknown(field: impl Into<String>, value: &str, known: &'static str) -> FieldError {
    FieldError::new(
        field,
        Problem::UnknownValue {
            value: value.to_owned(),
            known,
        },
    )
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1 as counted;
    use sluice_service_plan::model as served;

    /// Those who plan know nothing of policies, and the operator plans nothing.
    #[test]
    fn the_operator_counts_the_services_that_agents_serve() {
        assert_eq!(counted::SERVICE_PROXY_NAME, served::SERVICE_PROXY_NAME);
        assert_eq!(counted::OUR_PROXY_NAME, served::OUR_PROXY_NAME);
    }
}
