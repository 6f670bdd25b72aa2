//! Source NAT under load: short connections from outside through a masqueraded node port.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::places::{A1, A2, B1, LAN_INTERFACE, NODE};
use sluice_e2e::packets::build::{NODE_PORT, PORT, all_ready, cluster_ip, service};
use sluice_e2e::packets::planes::NFT;
use sluice_e2e::packets::row::Scene;
use sluice_e2e::source_nat::{StormReport, storm};
use sluice_service_plan::model::{Family, Protocol, Settings};

const CONNECTIONS: u32 = 50_000;

/// A further address of the node: 192.0.2.12 and on; four of them are one /30.
fn pool(addresses: u8) -> Vec<IpAddr> {
    (0..addresses)
        .map(|n| Ipv4Addr::new(192, 0, 2, 12 + n).into())
        .collect()
}

/// A node with these addresses, whose node port leads to two pods of its own and one of another node.
fn node(pool: &[IpAddr], random_fully: bool) -> ServedNode {
    let prefix = if pool.len() == 1 { 32 } else { 30 };
    let settings = Settings {
        snat_addresses: vec![format!("{}/{prefix}", pool[0]).parse().unwrap()],
        random_fully,
        ..Settings::default()
    };
    // The kernel's NAT is the same for both variants of iptables.
    let mut node = ServedNode::start(NFT.open, settings).unwrap();
    let mut facts = Scene::empty().node;
    let mut lines = String::new();
    for ip in pool {
        let _ = writeln!(lines, "addr add {ip}/24 dev {LAN_INTERFACE}");
        facts.addresses.push(*ip);
    }
    node.lab().node().ip(&lines).unwrap();
    let web = service("web")
        .cluster_ip(cluster_ip(Family::V4, 10))
        .port("", Protocol::Tcp, PORT)
        .node_port(NODE_PORT);
    node.change(|catalog| {
        catalog.set_node(facts);
        catalog.set_service(web.clone().build());
        catalog.set_slice(web.slice(Family::V4, &all_ready([A1, A2, B1])));
    })
    .unwrap();
    node
}

fn run(addresses: u8, random_fully: bool) -> StormReport {
    let pool = pool(addresses);
    let node = node(&pool, random_fully);
    let to = SocketAddr::new(NODE.ip(Family::V4), NODE_PORT);
    let report = storm(node.lab(), to, CONNECTIONS).unwrap();
    eprintln!("{addresses} SNAT addresses, random-fully {random_fully}: {report}");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let seen: BTreeSet<IpAddr> = report.sources.keys().copied().collect();
    assert_eq!(
        seen,
        pool.into_iter().collect(),
        "the sources that servers saw"
    );
    report
}

#[test]
fn fifty_thousand_connections_through_one_address_all_get_through_with_and_without_random_ports() {
    if !NFT.runs_here() {
        return;
    }
    for random_fully in [true, false] {
        run(1, random_fully);
    }
}

#[test]
fn a_pool_of_four_addresses_is_used_evenly_and_nothing_fails_with_and_without_random_ports() {
    if !NFT.runs_here() {
        return;
    }
    for random_fully in [true, false] {
        let report = run(4, random_fully);
        let fair = CONNECTIONS / 4;
        for (source, count) in report.sources {
            // Ten standard deviations of a fair share.
            assert!(
                count.abs_diff(fair) < 1000,
                "{source} was used {count} times"
            );
        }
    }
}
