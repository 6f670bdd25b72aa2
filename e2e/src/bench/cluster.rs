//! Clusters of any size, made up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    EndpointSlice, Family, LocalDetector, NodeFacts, Protocol, Service, Settings, SliceEndpoint,
};

use super::Size;
use crate::lab::places::{LOCAL_PODS, NODE, NODE_BRIDGE, REMOTE_PODS};
use crate::packets::build::{ServiceBuilder, network, service_in};

/// The port of every service.
pub const PORT: u16 = 80;

/// The name of the node.
pub const NODE_NAME: &str = "node";

/// The catalog of a cluster of this size, planned.
pub fn catalog(size: Size, settings: Settings) -> Catalog {
    let mut catalog = Catalog::new(node(), settings);
    for index in 0..size.services {
        catalog.set_service(service(index));
        catalog.set_slice(slice(index, made_up(index, size.endpoints)));
    }
    catalog.take_changes();
    catalog
}

/// The node as the lab makes it.
pub fn node() -> NodeFacts {
    NodeFacts {
        name: Arc::from(NODE_NAME),
        internal_ips: vec![NODE.v4.into()],
        addresses: vec![NODE.v4.into(), NODE_BRIDGE.v4.into()],
        pod_cidrs: vec![network(NODE_BRIDGE.v4.into(), 24)],
        ..NodeFacts::default()
    }
}

/// Masquerade what does not come from the pod network, as most clusters do.
pub fn settings() -> Settings {
    let pods = network(NODE_BRIDGE.v4.into(), 16);
    Settings {
        detect_local: LocalDetector::Cidrs(vec![pods]),
        ..Settings::default()
    }
}

/// The address of a service: scattered over 10.96.0.0/12 as the API server's random choice does.
pub fn cluster_ip(index: u32) -> Ipv4Addr {
    // An odd factor permutes the numbers below 2^20, so no two services meet.
    let host = index.wrapping_add(1).wrapping_mul(0x9E37_79B1) & 0x000f_ffff;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 0)) | host)
}

/// One service with a TCP port.
pub fn service(index: u32) -> Service {
    builder(index).build()
}

fn builder(index: u32) -> ServiceBuilder {
    service_in("bench", &format!("service-{index}"))
        .created(i64::from(index))
        .cluster_ip(cluster_ip(index).into())
        .port("http", Protocol::Tcp, PORT)
}

/// Its only slice.
pub fn slice(index: u32, endpoints: Vec<(IpAddr, bool)>) -> EndpointSlice {
    let endpoints = endpoints.into_iter().map(|(address, here)| SliceEndpoint {
        node: Some(Arc::from(if here { NODE_NAME } else { "another" })),
        ..SliceEndpoint::new(address)
    });
    EndpointSlice {
        endpoints: endpoints.collect(),
        ..builder(index).slice(Family::V4, &[])
    }
}

/// Endpoints that nobody answers on; one of a hundred is on the node.
pub fn made_up(index: u32, count: u16) -> Vec<(IpAddr, bool)> {
    let first = index * u32::from(count);
    let endpoint = |e: u32| {
        let here = (first + e).is_multiple_of(100);
        (
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + first + e).into(),
            here,
        )
    };
    (0..u32::from(count)).map(endpoint).collect()
}

/// Endpoints that answer, in the lab.
pub fn real() -> Vec<(IpAddr, bool)> {
    let here = LOCAL_PODS.iter().map(|pod| (pod.v4.into(), true));
    here.chain(REMOTE_PODS.iter().take(1).map(|pod| (pod.v4.into(), false)))
        .collect()
}
