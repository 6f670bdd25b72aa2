//! "Health": what `healthCheckNodePort` reports.

use sluice_service_plan::model::{
    AddressType, EndpointSlice, Service, ServiceType, SliceEndpoint, TrafficPolicy,
};

use crate::objects::*;

#[test]
fn the_health_check_counts_ready_addresses_of_this_node() {
    let endpoints = vec![
        local("10.1.0.1"),
        local("10.1.0.2"),
        SliceEndpoint {
            terminating: true,
            ..local("10.1.0.3")
        },
        terminating(local("10.1.0.4")),
        remote("10.1.1.1"),
    ];
    let v4 = EndpointSlice {
        ports: vec![slice_port("", 8080), slice_port("", 9090)],
        ..slice("v4", "web", endpoints)
    };
    let v6 = EndpointSlice {
        address_type: AddressType::Ipv6,
        ..slice(
            "v6",
            "web",
            vec![local("fd01::1"), local("fd01::2"), local("fd01::3")],
        )
    };
    let local = Service {
        external_policy: TrafficPolicy::Local,
        ..load_balancer("web")
    };
    let check = |service: Service, slices: &[EndpointSlice]| {
        let plan = plan(&[service], slices);
        plan_of(&plan, "web")
            .unwrap()
            .health_check
            .map(|one| (one.port, one.local_endpoints))
    };
    assert_eq!(
        check(local.clone(), std::slice::from_ref(&v4)),
        Some((31_000, 2))
    );
    assert_eq!(check(local.clone(), &[v4.clone(), v6]), Some((31_000, 3)));
    assert_eq!(check(local.clone(), &[]), Some((31_000, 0)));
    assert_eq!(
        check(load_balancer("web"), std::slice::from_ref(&v4)),
        None,
        "eTP Cluster"
    );
    let node_port = Service {
        kind: ServiceType::NodePort,
        ..local
    };
    assert_eq!(check(node_port, &[v4]), None, "type NodePort");
}
