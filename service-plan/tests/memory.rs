//! What a large cluster costs. Alone in its process, so that nothing else is measured.

#![allow(clippy::unwrap_used, reason = "helpers of a test are tests too")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, NodeFacts, ObjectName, Protocol, Service, ServicePort, Settings,
    SliceEndpoint, SlicePort,
};

const SERVICES: u32 = 20_000;
const ENDPOINTS: u32 = 4;
/// About half of what the whole agent may use; 31 were measured, 5 of them for labels.
const LIMIT_MIB: usize = 34;

/// As charts give them: most are alike from service to service.
fn labels(number: u32) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", format!("service-{number}")),
        ("app.kubernetes.io/instance", format!("service-{number}")),
        ("app.kubernetes.io/managed-by", "Helm".to_owned()),
        ("app.kubernetes.io/version", format!("1.{}.0", number % 30)),
        ("helm.sh/chart", format!("web-2.{}.0", number % 30)),
    ];
    labels.map(|(key, value)| (key.to_owned(), value)).into()
}

fn service(number: u32) -> Service {
    Service {
        created: i64::from(number),
        labels: labels(number),
        cluster_ips: vec![IpAddr::V4(Ipv4Addr::from_bits(0x0a60_0000 + number))],
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        ..Service::new(ObjectName::new(
            format!("team-{}", number % 50),
            format!("service-{number}"),
        ))
    }
}

fn slice(number: u32) -> EndpointSlice {
    let service = service(number).name;
    EndpointSlice {
        name: ObjectName::new(service.namespace, format!("{}-x7k2p", service.name)),
        service: service.name,
        headless: false,
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
        endpoints: (0..ENDPOINTS)
            .map(|nth| SliceEndpoint {
                node: Some(format!("node-{}", (number + nth) % 500).into()),
                zone: Some(format!("zone-{}", nth % 3).into()),
                ..SliceEndpoint::new(IpAddr::V4(Ipv4Addr::from_bits(
                    0x0a80_0000 + ENDPOINTS * number + nth,
                )))
            })
            .collect(),
    }
}

/// Resident memory of this process, KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn twenty_thousand_services_of_four_endpoints_fit() {
    let before = resident();
    let node = NodeFacts {
        name: "node-1".into(),
        ..NodeFacts::default()
    };
    let mut catalog = Catalog::new(node, Settings::default());
    for number in 0..SERVICES {
        catalog.set_service(service(number));
        catalog.set_slice(slice(number));
    }
    let changed = catalog.take_changes().services.len();
    assert_eq!(changed, SERVICES as usize);
    let used = (resident() - before) / 1024;
    eprintln!("{SERVICES} services x {ENDPOINTS} endpoints: {used} MiB");
    assert!(used <= LIMIT_MIB, "{used} MiB, more than {LIMIT_MIB}");
    assert_eq!(catalog.plan().services.len(), changed);
}
