//! Pods of a class: as which source their packets arrive.

mod egress;
mod services;

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_service_plan::model::{Family, LocalDetector, PodAction, PodClass, Protocol, Settings};

use crate::lab::places::{A1, A2, B1, NODE_SECOND, ROUTER};
use crate::packets::Row;
use crate::packets::build::{NODE_PORT, all_ready, cluster_pod_networks, only, outside_ip, web};
use crate::packets::row::{Expect, Scene, Source};

const EXTERNAL: u8 = 10;

fn class(name: &str, action: PodAction) -> PodClass {
    PodClass {
        name: name.into(),
        action,
        egress: false,
        out_interface: None,
    }
}

fn everywhere(class: PodClass) -> PodClass {
    PodClass {
        egress: true,
        ..class
    }
}

fn by(interface: &str, class: PodClass) -> PodClass {
    PodClass {
        out_interface: Some(interface.to_owned()),
        ..class
    }
}

fn keep() -> PodClass {
    class("keep", PodAction::Preserve)
}

fn hide() -> PodClass {
    class("hide", PodAction::Masquerade)
}

/// With the node's second address.
fn second() -> PodClass {
    class("second", PodAction::Snat(second_address()))
}

fn second_address() -> Vec<IpNet> {
    Family::ALL
        .map(|family| only(NODE_SECOND.ip(family)))
        .into()
}

/// All pods are told by their networks.
fn told(settings: &mut Settings) {
    settings.detect_local = LocalDetector::Cidrs(cluster_pod_networks());
}

/// A service with a node port and an external address; its endpoints are a pod here and one elsewhere.
fn scene(family: Family, protocol: Protocol) -> Scene {
    let service = web(family, protocol)
        .node_port(NODE_PORT)
        .external_ip(outside_ip(family, EXTERNAL));
    Scene::of(service, &all_ready([A1, B1]))
}

/// The pod `a2` is of this class.
fn a2(scene: Scene, class: PodClass) -> Scene {
    // Rows name few classes.
    let name = match &*class.name {
        "keep" => "keep",
        "hide" => "hide",
        _ => "second",
    };
    scene
        .set(|settings| settings.pod_classes = vec![class])
        .pod(A2, name)
}

pub(super) fn rows() -> Vec<Row> {
    [services::rows(), egress::rows()].concat()
}

fn beyond(source: Source) -> Expect {
    Expect::Leaves(ROUTER.name, source)
}

/// An address that nobody in the cluster has.
fn nobodys(family: Family) -> IpAddr {
    outside_ip(family, 200)
}
