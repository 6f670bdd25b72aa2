//! Builders: Services and `EndpointSlice`s in a few words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Family, Hints, ObjectName, Protocol, Service, ServicePort,
    ServiceType, SliceEndpoint, SlicePort, TrafficPolicy,
};

use crate::lab::places::{A1, Home, Place, SERVED_PORTS};

/// Name of the node under test.
pub const NODE_NAME: &str = "node-a";
/// Name of the other node.
pub const REMOTE_NODE_NAME: &str = "node-b";
/// Zone of the node under test.
pub const ZONE: &str = "zone-a";
/// Zone of the other node.
pub const REMOTE_ZONE: &str = "zone-b";
/// Namespace of all objects that do not say otherwise.
const NAMESPACE: &str = "default";
/// The port on which services are reached unless a row says otherwise.
pub const PORT: u16 = 80;
/// The node port that services have unless a row says otherwise.
pub const NODE_PORT: u16 = 30080;

/// The cluster IP with this last part: 10.96.0.`host`.
pub fn cluster_ip(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 96, 0, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, host.into()).into(),
    }
}

/// An address outside that leads to the node: 198.51.100.`host`. External and load-balancer IPs are of these.
pub fn outside_ip(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, host).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, host.into()).into(),
    }
}

/// A network of one address.
pub fn only(ip: IpAddr) -> IpNet {
    ip.into()
}

/// A Service being built. It starts with type `ClusterIP`, made at second 1000, without addresses and ports.
#[derive(Debug, Clone)]
#[must_use]
pub struct ServiceBuilder(Service);

/// Starts a Service.
pub fn service(name: &str) -> ServiceBuilder {
    service_in(NAMESPACE, name)
}

/// Starts a Service of another namespace.
pub fn service_in(namespace: &str, name: &str) -> ServiceBuilder {
    ServiceBuilder(Service {
        created: 1000,
        ..Service::new(ObjectName::new(namespace, name))
    })
}

/// `default/web` with the cluster IP `cluster_ip(family, 10)` and one port, [`PORT`].
pub fn web(family: Family, protocol: Protocol) -> ServiceBuilder {
    service("web")
        .cluster_ip(cluster_ip(family, 10))
        .port("", protocol, PORT)
}

impl ServiceBuilder {
    /// Adds a cluster IP.
    pub fn cluster_ip(mut self, ip: IpAddr) -> Self {
        self.0.cluster_ips.push(ip);
        self
    }

    /// Adds a port without node port.
    pub fn port(mut self, name: &str, protocol: Protocol, port: u16) -> Self {
        self.0.ports.push(ServicePort {
            name: name.into(),
            protocol,
            port,
            node_port: None,
        });
        self
    }

    /// Makes it a `NodePort` service (a `LoadBalancer` stays one) and gives its last port this node port.
    pub fn node_port(mut self, node_port: u16) -> Self {
        if self.0.kind == ServiceType::ClusterIp {
            self.0.kind = ServiceType::NodePort;
        }
        if let Some(port) = self.0.ports.last_mut() {
            port.node_port = Some(node_port);
        }
        self
    }

    /// Adds an external IP.
    pub fn external_ip(mut self, ip: IpAddr) -> Self {
        self.0.external_ips.push(ip);
        self
    }

    /// Makes it a `LoadBalancer` service with this ingress IP.
    pub fn load_balancer(mut self, ip: IpAddr) -> Self {
        self.0.kind = ServiceType::LoadBalancer;
        self.0.load_balancer_ips.push(ip);
        self
    }

    /// Sets `loadBalancerSourceRanges`.
    pub fn source_ranges(mut self, ranges: &[IpNet]) -> Self {
        self.0.source_ranges = ranges.to_vec();
        self
    }

    /// `internalTrafficPolicy: Local`.
    pub fn internal_local(mut self) -> Self {
        self.0.internal_policy = TrafficPolicy::Local;
        self
    }

    /// `externalTrafficPolicy: Local`.
    pub fn external_local(mut self) -> Self {
        self.0.external_policy = TrafficPolicy::Local;
        self
    }

    /// Sets `healthCheckNodePort`, which counts with type `LoadBalancer` and external policy Local.
    pub fn health_check_port(mut self, port: u16) -> Self {
        self.0.health_check_port = Some(port);
        self
    }

    /// `sessionAffinity: ClientIP`.
    pub fn affinity(mut self, seconds: u32) -> Self {
        self.0.affinity_seconds = Some(seconds);
        self
    }

    /// Sets the time of creation.
    pub fn created(mut self, second: i64) -> Self {
        self.0.created = second;
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// `type: ExternalName`.
    pub fn external_name(mut self) -> Self {
        self.0.kind = ServiceType::ExternalName;
        self
    }

    /// The Service.
    pub fn build(self) -> Service {
        self.0
    }

    /// A slice of it: for each of its ports the target port [`SERVED_PORTS`]`[0]`.
    pub fn slice(&self, family: Family, endpoints: &[EndpointBuilder]) -> EndpointSlice {
        let ports = self.0.ports.iter().map(|port| SlicePort {
            name: port.name.clone(),
            protocol: port.protocol,
            port: SERVED_PORTS[0],
        });
        let ObjectName { namespace, name } = &self.0.name;
        EndpointSlice {
            name: ObjectName::new(namespace.clone(), format!("{name}-{family:?}")),
            service: name.clone(),
            headless: false,
            address_type: match family {
                Family::V4 => AddressType::Ipv4,
                Family::V6 => AddressType::Ipv6,
            },
            ports: ports.collect(),
            endpoints: endpoints
                .iter()
                .map(|endpoint| endpoint.build(family))
                .collect(),
        }
    }

    /// The families of its cluster IPs.
    pub fn families(&self) -> Vec<Family> {
        let mut families: Vec<Family> =
            self.0.cluster_ips.iter().copied().map(Family::of).collect();
        families.sort_unstable();
        families.dedup();
        families
    }
}

/// An endpoint being built, for either family.
#[derive(Debug, Clone)]
#[must_use]
pub struct EndpointBuilder {
    place: Place,
    ready: bool,
    serving: bool,
    terminating: bool,
    node: Option<Arc<str>>,
    hints: Hints,
}

/// A ready endpoint.
pub fn ready(place: Place) -> EndpointBuilder {
    let node = if place.home == Home::Remote {
        REMOTE_NODE_NAME
    } else {
        NODE_NAME
    };
    EndpointBuilder {
        place,
        ready: true,
        serving: true,
        terminating: false,
        node: Some(node.into()),
        hints: Hints::default(),
    }
}

/// An endpoint that is not ready.
pub fn unready(place: Place) -> EndpointBuilder {
    EndpointBuilder {
        ready: false,
        serving: false,
        ..ready(place)
    }
}

/// An endpoint that terminates and still serves.
pub fn draining(place: Place) -> EndpointBuilder {
    EndpointBuilder {
        ready: false,
        terminating: true,
        ..ready(place)
    }
}

/// An endpoint that terminates and serves no more.
pub fn ending(place: Place) -> EndpointBuilder {
    EndpointBuilder {
        serving: false,
        ..draining(place)
    }
}

/// Ready endpoints.
pub fn all_ready<const N: usize>(places: [Place; N]) -> Vec<EndpointBuilder> {
    places.map(ready).to_vec()
}

impl EndpointBuilder {
    /// Says that it terminates, and leaves ready as it is (`publishNotReadyAddresses`).
    pub fn terminating(self) -> Self {
        Self {
            terminating: true,
            ..self
        }
    }

    /// Says not on which node it is.
    pub fn nowhere(self) -> Self {
        Self { node: None, ..self }
    }

    /// Adds a zone hint.
    pub fn for_zone(mut self, zone: &str) -> Self {
        self.hints.zones.push(zone.into());
        self
    }

    /// Adds a node hint.
    pub fn for_node(mut self, node: &str) -> Self {
        self.hints.nodes.push(node.into());
        self
    }

    fn build(&self, family: Family) -> SliceEndpoint {
        let zone = if self.place.home == Home::Remote {
            REMOTE_ZONE
        } else {
            ZONE
        };
        SliceEndpoint {
            address: self.place.ip(family),
            ready: self.ready,
            serving: self.serving,
            terminating: self.terminating,
            node: self.node.clone(),
            zone: Some(zone.into()),
            hints: (self.hints != Hints::default()).then(|| Box::new(self.hints.clone())),
        }
    }
}

/// The network of this prefix length that holds an address.
pub fn network(ip: IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new_assert(ip, prefix_len).trunc()
}

/// The pod networks of the node under test, both families.
pub fn node_pod_networks() -> Vec<IpNet> {
    vec![
        network(A1.ip(Family::V4), 24),
        network(A1.ip(Family::V6), 64),
    ]
}

/// The pod networks of the whole cluster, both families.
pub fn cluster_pod_networks() -> Vec<IpNet> {
    vec![
        network(A1.ip(Family::V4), 16),
        network(A1.ip(Family::V6), 48),
    ]
}
