//! What services use that is worth a look before the move. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt as _;
use serde::Serialize;
use sluice_crds::v1alpha1::SERVICE_PROXY_NAME;

const TOPOLOGY: [&str; 2] = [
    "service.kubernetes.io/topology-mode",
    "service.kubernetes.io/topology-aware-hints",
];
/// What the API server writes where nobody says.
const AFFINITY_SECONDS: i32 = 10_800;

/// A feature, and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feature {
    /// Its name.
    pub(super) name: &'static str,
    /// What to look at.
    pub(super) advice: &'static str,
    /// `NAMESPACE/NAME` of the services.
    pub(super) services: Vec<String>,
}

/// A name, what to look at, and how it is told.
type Row = (
    &'static str,
    &'static str,
    fn(&Service, &ServiceSpec) -> bool,
);

const ROWS: [Row; 11] = [
    (
        "another proxy's name",
        "services with the label service.kubernetes.io/service-proxy-name stay with the proxy that it names; Sluice serves those that say sluice.dev",
        |service, _| service.labels().contains_key(SERVICE_PROXY_NAME),
    ),
    (
        "externalIPs",
        "the node's own packets to one without endpoints are refused, where kube-proxy's iptables mode lets them leave",
        |_, spec| {
            spec.external_ips
                .as_ref()
                .is_some_and(|ips| !ips.is_empty())
        },
    ),
    (
        "loadBalancerSourceRanges",
        "clients outside them get no answer, also while the service has no endpoint; see that health checks of load balancers come from inside them",
        |_, spec| {
            spec.load_balancer_source_ranges
                .as_ref()
                .is_some_and(|ranges| !ranges.is_empty())
        },
    ),
    (
        "externalTrafficPolicy: Local",
        "the same as with kube-proxy's iptables mode; its IPVS mode sends the node's own packets to own endpoints only, Sluice to all",
        |_, spec| spec.external_traffic_policy.as_deref() == Some("Local"),
    ),
    (
        "healthCheckNodePort",
        "the agent answers on it as kube-proxy does: only one of both can while they run beside each other, and load balancers ask whoever has it",
        |_, spec| spec.health_check_node_port.is_some_and(|port| port != 0),
    ),
    (
        "internalTrafficPolicy: Local",
        "without an endpoint on the node there is no answer, where kube-proxy's IPVS mode refuses",
        |_, spec| spec.internal_traffic_policy.as_deref() == Some("Local"),
    ),
    (
        "sessionAffinity: ClientIP",
        "clients may get another endpoint once, when kube-proxy stops: what it remembers of them is its own",
        |_, spec| spec.session_affinity.as_deref() == Some("ClientIP"),
    ),
    (
        "sessionAffinityConfig.clientIP.timeoutSeconds",
        "kept to the second in both modes; a long one lets a client stay with its endpoint for as long after the last connection",
        |_, spec| affinity_seconds(spec).is_some_and(|seconds| seconds != AFFINITY_SECONDS),
    ),
    (
        "topology",
        "zones and nodes that endpoint slices hint at count, as with kube-proxy; spec.endpointWeights of a policy gives shares in place of all or nothing",
        |service, spec| {
            spec.traffic_distribution.is_some()
                || TOPOLOGY
                    .iter()
                    .any(|name| service.annotations().contains_key(*name))
        },
    ),
    (
        "SCTP",
        "the nodes' kernels need nf_conntrack's SCTP, which distributions have; `sluice-agent check` on a node tells",
        |_, spec| ports_use(spec, "SCTP"),
    ),
    (
        "UDP",
        "a sender keeps its endpoint until that goes; kube-proxy's tracking entries stay as they are while both run",
        |_, spec| ports_use(spec, "UDP"),
    ),
];

/// Of all services that a proxy serves, the features in a fixed order, without those that nobody uses.
pub(super) fn features(services: &[Service]) -> Vec<Feature> {
    let mut users: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for service in services {
        let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(spec)) else {
            continue;
        };
        for (number, (_, _, uses)) in ROWS.iter().enumerate() {
            if uses(service, spec) {
                let name = format!(
                    "{}/{}",
                    service.namespace().unwrap_or_default(),
                    service.name_any()
                );
                users.entry(number).or_default().push(name);
            }
        }
    }
    let feature = |(number, mut services): (usize, Vec<String>)| {
        let (name, advice, _) = ROWS.get(number)?;
        services.sort();
        Some(Feature {
            name,
            advice,
            services,
        })
    };
    users.into_iter().filter_map(feature).collect()
}

/// How many services a proxy serves.
pub(super) fn proxied(services: &[Service]) -> usize {
    services
        .iter()
        .filter_map(|service| service.spec.as_ref())
        .filter(|spec| is_proxied(spec))
        .count()
}

fn is_proxied(spec: &ServiceSpec) -> bool {
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    !is_headless && spec.type_.as_deref() != Some("ExternalName")
}

fn affinity_seconds(spec: &ServiceSpec) -> Option<i32> {
    let config = spec.session_affinity_config.as_ref()?;
    config.client_ip.as_ref()?.timeout_seconds
}

fn ports_use(spec: &ServiceSpec, protocol: &str) -> bool {
    let mut ports = spec.ports.iter().flatten();
    ports.any(|port| port.protocol.as_deref() == Some(protocol))
}
