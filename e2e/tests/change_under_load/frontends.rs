//! Frontends come and go.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, A2, B1, CLIENT, NEIGHBOUR, NODE, ROUTER};
use sluice_e2e::lab::{Outcome, Probe};
use sluice_e2e::packets::build::{
    NODE_PORT, PORT, ServiceBuilder, all_ready, cluster_ip, outside_ip, service,
};
use sluice_service_plan::model::{Family, Protocol};

use crate::traffic::{Traffic, datagrams, on_each_plane, route, step, vip, web, with_ports};

/// Datagrams before a change, and after it.
const ENOUGH: usize = 3;

#[test]
fn a_service_that_changes_its_type_loses_nothing_on_the_frontends_that_stay() {
    on_each_plane(|node| {
        let endpoints = all_ready([A1, A2, B1]);
        let outside = outside_ip(Family::V4, 7);
        let node_port = || with_ports(service("web"), Some(NODE_PORT));
        let balanced = || node_port().load_balancer(outside);
        let at_node = SocketAddr::new(NODE.ip(Family::V4), NODE_PORT);

        node.serve(&web(), &endpoints).unwrap();
        let always = Traffic::start(node, CLIENT, vip());
        node.serve(&node_port(), &endpoints).unwrap();
        let on_node_port = Traffic::start(node, NEIGHBOUR, at_node);
        node.serve(&balanced(), &endpoints).unwrap();
        let on_address = Traffic::start(node, CLIENT.shifted(1), SocketAddr::new(outside, PORT));
        // The load balancer's address goes first, then the node port.
        let on_address = on_address.stop();
        node.serve(&node_port(), &endpoints).unwrap();
        let on_node_port = on_node_port.stop();
        node.serve(&web(), &endpoints).unwrap();
        let always = always.stop();
        always.assert_nothing_lost("cluster IP", |_| false);
        on_node_port.assert_nothing_lost("node port", |_| false);
        on_address.assert_nothing_lost("load balancer", |_| false);

        let refused = Probe::new(Protocol::Tcp, None, at_node);
        assert_eq!(
            node.lab().probe(&NEIGHBOUR, &refused).unwrap(),
            Outcome::Refused
        );
    });
}

#[test]
fn a_frontend_that_appears_later_answers_those_who_sent_to_it_before() {
    on_each_plane(|node| {
        let (external, balancer) = (outside_ip(Family::V4, 5), outside_ip(Family::V4, 6));
        let cluster = SocketAddr::new(cluster_ip(Family::V4, 10), PORT);
        let at = |ip| SocketAddr::new(ip, PORT);
        let steps: [(&str, SocketAddr, ServiceBuilder); 4] = [
            ("the service itself", cluster, web()),
            ("an external IP", at(external), web().external_ip(external)),
            (
                "a node port",
                SocketAddr::new(NODE.ip(Family::V4), NODE_PORT),
                with_ports(service("web"), Some(NODE_PORT)).external_ip(external),
            ),
            (
                "a load balancer's IP",
                at(balancer),
                with_ports(service("web"), Some(NODE_PORT))
                    .external_ip(external)
                    .load_balancer(balancer),
            ),
        ];
        // Slices may come before their service.
        node.change(|catalog| catalog.set_slice(web().slice(Family::V4, &all_ready([A1, B1]))))
            .unwrap();
        // Nobody beyond the node answers: an answer that is under way while the entry of its flow is deleted would make an
        // entry of its own, in the other direction, which translates nothing.
        let silence = "add table ip silence
            add chain ip silence in { type filter hook prerouting priority -400; }
            add rule ip silence in udp dport 80 drop";
        let router = node.lab().namespace(&ROUTER);
        router.program("nft", &["-f", "-"], silence).unwrap();
        let pods = [Some(A1.name), Some(B1.name)];
        for (what, to, service) in steps {
            let route = Route {
                // Silence costs a sender that long.
                patience: stretched(Duration::from_millis(800)),
                ..route(CLIENT, to)
            };
            let mut load = Load::datagrams(node.lab(), route, 3, datagrams()).unwrap();
            load.wait_until(|seen| seen.len() >= ENOUGH);
            let change = node
                .change(|catalog| catalog.set_service(service.build()))
                .unwrap();
            sleep(6 * step());
            load.wait_until(|seen| seen.iter().filter(|a| change.is_before(a)).count() >= ENOUGH);
            let report = load.stop().unwrap();
            let after: Vec<_> = report
                .attempts
                .iter()
                .filter(|a| change.is_before(a))
                .collect();
            let before: Vec<_> = report
                .attempts
                .iter()
                .filter(|a| change.is_after(a))
                .collect();
            assert!(before.len() >= ENOUGH, "{what}: too little load before");
            assert!(
                before.iter().all(|a| !pods.contains(&a.outcome.endpoint())),
                "{what}"
            );
            assert!(after.len() >= ENOUGH, "{what}: too little load");
            let wrong: Vec<String> = after
                .iter()
                .filter(|attempt| !pods.contains(&attempt.outcome.endpoint()))
                .map(|attempt| format!("{:?}: {}", attempt.at - change.done, attempt.outcome))
                .collect();
            assert_eq!(wrong, [""; 0], "{what}");
        }
    });
}
