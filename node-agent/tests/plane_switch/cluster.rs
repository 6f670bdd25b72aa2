//! Clusters at random.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, LocalDetector, NodeFacts, ObjectName, PodAction, PodClass,
    Protocol, Service, ServicePort, ServiceType, Settings, SliceEndpoint, SlicePort, TrafficPolicy,
    VipBinding,
};

/// The class of pods that policies of these clusters name.
pub(crate) const CLASS: &str = "chosen";

/// One service.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    kind: ServiceType,
    protocol: Protocol,
    local: bool,
    affinity: bool,
    ranges: bool,
    endpoints: Vec<u8>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let kinds = vec![
        ServiceType::ClusterIp,
        ServiceType::NodePort,
        ServiceType::LoadBalancer,
    ];
    (
        prop::sample::select(kinds),
        prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]),
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.3),
        prop::collection::vec(0..40u8, 0..5),
    )
        .prop_map(
            |(kind, protocol, local, affinity, ranges, endpoints)| Shape {
                kind,
                protocol,
                local,
                affinity,
                ranges,
                endpoints,
            },
        )
}

/// Services by number.
pub(crate) fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    prop::collection::vec(shape(), 1..6)
}

fn service(n: u8, shape: &Shape) -> Service {
    let has_node_port = shape.kind != ServiceType::ClusterIp;
    Service {
        kind: shape.kind,
        cluster_ips: vec![
            Ipv4Addr::new(10, 96, 0, n).into(),
            format!("fd00:10:96::{n:x}").parse().unwrap(),
        ],
        load_balancer_ips: if shape.kind == ServiceType::LoadBalancer {
            vec![Ipv4Addr::new(203, 0, 113, n).into()]
        } else {
            Vec::new()
        },
        source_ranges: if shape.ranges {
            vec!["192.0.2.0/25".parse().unwrap()]
        } else {
            Vec::new()
        },
        external_policy: if shape.local {
            TrafficPolicy::Local
        } else {
            TrafficPolicy::Cluster
        },
        affinity_seconds: shape.affinity.then_some(60),
        ports: vec![ServicePort {
            name: Arc::from("p"),
            protocol: shape.protocol,
            port: 80,
            node_port: has_node_port.then(|| 30_000 + u16::from(n)),
        }],
        ..Service::new(ObjectName::new("default", format!("s{n}")))
    }
}

fn slices(n: u8, shape: &Shape) -> [EndpointSlice; 2] {
    [AddressType::Ipv4, AddressType::Ipv6].map(|address_type| EndpointSlice {
        name: ObjectName::new("default", format!("s{n}-{address_type:?}")),
        service: Arc::from(format!("s{n}")),
        headless: false,
        address_type,
        ports: vec![SlicePort {
            name: Arc::from("p"),
            protocol: shape.protocol,
            port: 8080,
        }],
        endpoints: shape
            .endpoints
            .iter()
            .map(|e| {
                let text = match address_type {
                    AddressType::Ipv6 => format!("fd00:10:244:{}::{e:x}", e % 3),
                    _ => format!("10.244.{}.{e}", e % 3),
                };
                SliceEndpoint {
                    node: Some(Arc::from(if e % 3 == 0 { "here" } else { "there" })),
                    ..SliceEndpoint::new(text.parse().unwrap())
                }
            })
            .collect(),
    })
}

/// A catalog of these services, on a node whose addresses the [kernel](crate::kernel::Kernel) holds.
pub(crate) fn catalog(shapes: &[Shape], binding: VipBinding) -> Catalog {
    let node = NodeFacts {
        name: Arc::from("here"),
        internal_ips: vec![
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ],
        addresses: crate::kernel::NODE.map(|ip| ip.parse().unwrap()).into(),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        ..NodeFacts::default()
    };
    let mut settings = Settings {
        detect_local: LocalDetector::Cidrs(vec!["10.244.0.0/24".parse().unwrap()]),
        ..Settings::default()
    };
    settings.ipvs.vip_binding = binding;
    settings.pod_classes = vec![PodClass {
        name: Arc::from(CLASS),
        action: PodAction::Snat(vec!["192.0.2.0/24".parse().unwrap()]),
        egress: true,
        out_interface: None,
    }];
    let mut catalog = Catalog::new(node, settings);
    put(&mut catalog, shapes);
    catalog.take_changes();
    catalog
}

/// Makes these the services of that number; those with a higher one stay.
pub(crate) fn put(catalog: &mut Catalog, shapes: &[Shape]) {
    for (n, shape) in (1..).zip(shapes) {
        catalog.set_service(service(n, shape));
        for slice in slices(n, shape) {
            catalog.set_slice(slice);
        }
    }
}

/// `s1`, a TCP service, and `s2`, a UDP service, each with one endpoint in each family.
pub(crate) fn two_services() -> Vec<Shape> {
    [Protocol::Tcp, Protocol::Udp]
        .map(|protocol| Shape {
            kind: ServiceType::NodePort,
            protocol,
            local: false,
            affinity: false,
            ranges: false,
            endpoints: vec![1],
        })
        .into()
}

pub(crate) fn binding() -> impl Strategy<Value = VipBinding> {
    prop::sample::select(vec![VipBinding::LocalRoute, VipBinding::Dummy])
}
