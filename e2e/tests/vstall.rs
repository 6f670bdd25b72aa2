//! The stall of old: a client that uses a port again, whose last connection IPVS remembers, waits a second for its SYN to be sent again.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_agent::settings::KernelVersion;
use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::churn::{Churn, ChurnReport, narrow_ports};
use sluice_e2e::lab::places::{A1, A2, B1, CLIENT};
use sluice_e2e::packets::build::{PORT, all_ready, cluster_ip, web};
use sluice_e2e::packets::planes;
use sluice_service_plan::model::{Family, Protocol, Settings};

const PORTS: u16 = 120;

/// Since then IPVS gives such a connection an endpoint at once (Linux commit f0a5e4d7a594).
const RESCHEDULES_AT_ONCE: KernelVersion = KernelVersion::new(5, 9);

/// Connections to one address, four times as many as the client has ports.
fn four_times_the_ports(node: &ServedNode) -> ChurnReport {
    let to = SocketAddr::new(cluster_ip(Family::V4, 10), PORT);
    let churn = Churn {
        rest: Duration::from_millis(20),
        ..Churn::new(CLIENT, to, 3)
    };
    let report = churn.run(node.lab(), 4 * usize::from(PORTS)).unwrap();
    eprintln!("  {report}");
    assert!(
        report.connections.len() > 3 * usize::from(PORTS),
        "{report}"
    );
    report
}

fn set_reuse_mode(node: &ServedNode, mode: &str) {
    let sysctl = "net/ipv4/vs/conn_reuse_mode";
    node.lab().node().sysctl(sysctl, mode).unwrap();
}

#[test]
fn no_connection_stalls_for_its_port_and_the_other_reuse_mode_shows_why() {
    let kernel = KernelVersion::running().unwrap();
    for plane in planes::here() {
        eprintln!("on {}, kernel {kernel}:", plane.name);
        let mut node = ServedNode::start(plane.open, plane.settings(Settings::default())).unwrap();
        let service = web(Family::V4, Protocol::Tcp);
        narrow_ports(node.lab(), &CLIENT, PORTS).unwrap();
        node.serve(&service, &all_ready([A1])).unwrap();
        let report = four_times_the_ports(&node);
        assert_eq!(report.failed().count(), 0);
        assert_eq!((report.stalled(), report.syn_retransmits), (0, 0));
        if plane.ipvs.is_none() {
            continue;
        }
        if kernel < RESCHEDULES_AT_ONCE {
            set_reuse_mode(&node, "1");
            let report = four_times_the_ports(&node);
            assert!(report.stalled() > 0 && report.syn_retransmits > 0);
        } else {
            // The other way not to stall: the port's connections go on to the endpoint that it had.
            set_reuse_mode(&node, "0");
            let more = node.serve(&service, &all_ready([A1, A2, B1])).unwrap();
            let report = four_times_the_ports(&node);
            let answers = report.answers(&(more.done..Instant::now()));
            eprintln!("  {answers:?}");
            let new: usize = [A2, B1]
                .iter()
                .filter_map(|pod| answers.get(pod.name))
                .sum();
            assert!(new * 10 < report.connections.len(), "{answers:?}");
        }
    }
}
