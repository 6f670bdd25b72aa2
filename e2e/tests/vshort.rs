//! Short connections as fast as they go, and source ports that run out.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::Outcome;
use sluice_e2e::lab::churn::Churn;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::{patience, stretched};
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, LAN_INTERFACE, NODE, Place};
use sluice_e2e::packets::build::{PORT, all_ready, cluster_ip, only, web};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_e2e::packets::row::Scene;
use sluice_service_plan::model::{Family, Protocol, Settings};

const COUNT: usize = 1500;

fn vip() -> SocketAddr {
    SocketAddr::new(cluster_ip(Family::V4, 10), PORT)
}

fn serving(plane: &PlaneUnderTest, settings: Settings) -> ServedNode {
    ServedNode::start(plane.open, plane.settings(settings)).unwrap()
}

#[test]
fn short_connections_at_the_highest_rate_never_wait_for_a_lost_syn() {
    for plane in planes::here() {
        let mut node = serving(plane, Settings::default());
        let service = web(Family::V4, Protocol::Tcp);
        node.serve(&service, &all_ready([A1, A2, B1])).unwrap();
        for (who, from) in [("a pod", A3), ("the host", NODE), ("outside", CLIENT)] {
            let report = Churn::new(from, vip(), 4).run(node.lab(), COUNT).unwrap();
            eprintln!("[{}] from {who}: {report}", plane.name);
            assert_eq!(report.failed().count(), 0);
            assert_eq!((report.stalled(), report.syn_retransmits), (0, 0));
            assert_eq!(report.connections.len(), COUNT);
        }
    }
}

/// Connections that stay, masqueraded by one of these addresses and ports: how many of them failed.
fn failed_of_60(plane: &PlaneUnderTest, addresses: &[Place]) -> usize {
    let settings = Settings {
        masquerade_all: true,
        snat_addresses: addresses.iter().map(|at| only(at.ip(Family::V4))).collect(),
        snat_ports: Some((20_000, 20_039)),
        ..Settings::default()
    };
    let mut node = serving(plane, settings);
    let mut facts = Scene::empty().node;
    for ip in addresses.iter().map(|at| at.ip(Family::V4)) {
        if !facts.addresses.contains(&ip) {
            let line = format!("addr add {ip}/24 dev {LAN_INTERFACE}");
            node.lab().node().ip(&line).unwrap();
            facts.addresses.push(ip);
        }
    }
    node.change(|catalog| catalog.set_node(facts)).unwrap();
    let service = web(Family::V4, Protocol::Tcp);
    node.serve(&service, &all_ready([B1])).unwrap();
    let route = Route {
        from: CLIENT,
        to: vip(),
        patience: patience(),
    };
    let load = Load::long_lived(node.lab(), route, 60, 1).unwrap();
    sleep(stretched(Duration::from_millis(500)));
    let report = load.stop().unwrap();
    let failures = report.failures();
    let sources: BTreeSet<_> = report
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.outcome {
            Outcome::Reached { source, .. } => Some(source.ip()),
            _ => None,
        })
        .collect();
    assert_eq!(sources.len(), addresses.len(), "{sources:?}");
    eprintln!(
        "[{}] 60 connections by {} addresses with 40 ports each: {} failed",
        plane.name,
        addresses.len(),
        failures.len()
    );
    failures.len()
}

#[test]
fn source_ports_run_out_with_one_address_and_suffice_with_a_pool_of_them() {
    for plane in planes::here() {
        let one = [NODE];
        let pool = [0, 2, 3, 4].map(|n| NODE.shifted(n));
        assert!(failed_of_60(plane, &one) >= 20);
        assert_eq!(failed_of_60(plane, &pool), 0);
    }
}
