//! What the node's filter table lets pass beside first packets of services: packets without a connection, and health checks.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::places::{A1, CLIENT, NODE, SERVED_PORTS};
use sluice_e2e::lab::{Listen, Outcome, Probe, Server};
use sluice_e2e::packets::build::{NODE_PORT, PORT, all_ready, outside_ip, web};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// The kubelet's choice for `healthCheckNodePort`.
const HEALTH_CHECK_PORT: u16 = 31_000;
/// Silence for so long is silence.
const SILENCE: Duration = Duration::from_millis(700);
/// Time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn on_each_plane(settings: &Settings, test: impl Fn(&mut ServedNode, &PlaneUnderTest)) {
    for plane in planes::here() {
        eprintln!("on {}:", plane.name);
        let mut node = ServedNode::start(plane.open, plane.settings(settings.clone())).unwrap();
        test(&mut node, plane);
    }
}

/// Opens a connection from outside to a pod, lets the node forget it, and says whether it goes on within this time.
fn goes_on_when_forgotten(node: &ServedNode, family: Family, within: Duration) -> bool {
    let lab = node.lab();
    // A packet in the middle of a connection that is not known is INVALID, not the start of one.
    lab.node()
        .sysctl("net/netfilter/nf_conntrack_tcp_loose", "0")
        .unwrap();
    let to = SocketAddr::new(A1.ip(family), SERVED_PORTS[0]);
    let connect = move || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 512];
        assert!(stream.read(&mut greeting).unwrap() > 0);
        stream.set_read_timeout(Some(within)).unwrap();
        stream
    };
    let client = lab.namespace(&CLIENT);
    let mut stream = client.run(connect).unwrap();
    lab.node().command("conntrack -F").unwrap();
    let echo = move || {
        stream.write_all(b"?").unwrap();
        match stream.read(&mut [0; 1]) {
            Ok(read) => read == 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    };
    client.run(echo).unwrap()
}

#[test]
fn what_belongs_to_no_connection_is_dropped_on_its_way_through_the_node() {
    on_each_plane(&Settings::default(), |node, _| {
        for family in Family::ALL {
            let goes_on = goes_on_when_forgotten(node, family, SILENCE);
            assert!(!goes_on, "{family:?}");
        }
    });
}

#[test]
fn what_belongs_to_no_connection_is_forwarded_where_the_settings_are_liberal() {
    let settings = Settings {
        tcp_be_liberal: true,
        ..Settings::default()
    };
    on_each_plane(&settings, |node, _| {
        for family in Family::ALL {
            let goes_on = goes_on_when_forgotten(node, family, PATIENCE);
            assert!(goes_on, "{family:?}");
        }
    });
}

#[test]
fn a_health_check_port_answers_also_where_the_node_drops_what_it_does_not_know() {
    on_each_plane(&Settings::default(), |node, plane| {
        let lab = node.lab();
        // As firewalls do it.
        for program in [plane.programs.v4, plane.programs.v6] {
            for line in [
                "-P INPUT DROP",
                "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            ] {
                lab.node().command(&format!("{program} -w {line}")).unwrap();
            }
        }
        // In the place of the agent's own server.
        let listen = Listen {
            name: "health".to_owned(),
            addresses: vec![NODE.ip(Family::V4)],
            ports: vec![HEALTH_CHECK_PORT, HEALTH_CHECK_PORT + 1],
            protocols: vec![Protocol::Tcp],
        };
        let _server = Server::start(lab.node(), &[listen]).unwrap();
        let mut service = web(Family::V4, Protocol::Tcp)
            .node_port(NODE_PORT)
            .load_balancer(outside_ip(Family::V4, 10))
            .external_local()
            .build();
        let to = |port| {
            let to = SocketAddr::new(NODE.ip(Family::V4), port);
            Probe::new(Protocol::Tcp, None, to)
        };
        let is_silent = |node: &ServedNode, port| {
            let probe = to(port).expecting_silence();
            node.lab().probe(&CLIENT, &probe).unwrap() == Outcome::TimedOut
        };
        assert!(is_silent(node, HEALTH_CHECK_PORT));

        service.health_check_port = Some(HEALTH_CHECK_PORT);
        let slice = web(Family::V4, Protocol::Tcp).slice(Family::V4, &all_ready([A1]));
        node.change(|catalog| {
            catalog.set_service(service.clone());
            catalog.set_slice(slice);
        })
        .unwrap();
        let outcome = node.lab().probe(&CLIENT, &to(HEALTH_CHECK_PORT)).unwrap();
        assert_eq!(outcome.endpoint(), Some("health"), "{outcome}");
        assert!(is_silent(node, HEALTH_CHECK_PORT + 1));

        service.health_check_port = None;
        node.change(|catalog| catalog.set_service(service)).unwrap();
        assert!(is_silent(node, HEALTH_CHECK_PORT));
        let cluster_ip = web(Family::V4, Protocol::Tcp).build().cluster_ips[0];
        let at_service = Probe::new(Protocol::Tcp, None, SocketAddr::new(cluster_ip, PORT));
        let outcome = node.lab().probe(&CLIENT, &at_service).unwrap();
        assert_eq!(outcome.endpoint(), Some(A1.name));
    });
}
