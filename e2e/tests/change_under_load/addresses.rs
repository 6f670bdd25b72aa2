//! Addresses of the node come and go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;

use sluice_e2e::changes::{ServedNode, lost};
use sluice_e2e::lab::load::Load;
use sluice_e2e::lab::places::{A1, B1, CLIENT, LAN_INTERFACE, NEIGHBOUR, NODE};
use sluice_e2e::lab::{Outcome, Probe};
use sluice_e2e::packets::build::{NODE_PORT, all_ready, service};
use sluice_e2e::packets::row::Scene;
use sluice_service_plan::model::{Family, Protocol};

use crate::traffic::{connections, on_each_plane, route, step, with_ports};

const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));

/// Gives the node an address, or takes it away, in the kernel and in the plan.
fn set_address(node: &mut ServedNode, is_there: bool) {
    let verb = if is_there { "add" } else { "del" };
    let line = format!("addr {verb} {NEW}/24 dev {LAN_INTERFACE}");
    node.lab().node().ip(&line).unwrap();
    let mut facts = Scene::empty().node;
    if is_there {
        facts.addresses.push(NEW);
    }
    node.change(|catalog| catalog.set_node(facts)).unwrap();
}

#[test]
fn an_address_that_comes_and_goes_serves_node_ports_meanwhile_and_the_others_lose_nothing() {
    on_each_plane(|node| {
        let web = with_ports(service("web"), Some(NODE_PORT));
        node.serve(&web, &all_ready([A1, B1])).unwrap();
        let at = |ip| SocketAddr::new(ip, NODE_PORT);
        let old = route(CLIENT, at(NODE.ip(Family::V4)));
        let always = Load::new_connections(node.lab(), old, connections()).unwrap();
        for _ in 0..3 {
            set_address(node, true);
            let new = route(NEIGHBOUR, at(NEW));
            let mut meanwhile = Load::new_connections(node.lab(), new, connections()).unwrap();
            sleep(step());
            meanwhile.wait_until(|seen| seen.len() > 10);
            let report = meanwhile.stop().unwrap();
            assert!(report.attempts.len() > 10);
            assert_eq!(lost(&report, |_| false), [""; 0], "at the new address");
            set_address(node, false);
            let gone = Probe::new(Protocol::Tcp, None, at(NEW));
            let outcome = node.lab().probe(&NEIGHBOUR, &gone).unwrap();
            assert!(
                !matches!(outcome, Outcome::Reached { .. }),
                "an address that is gone: {outcome}"
            );
        }
        assert_eq!(
            lost(&always.stop().unwrap(), |_| false),
            [""; 0],
            "at the old one"
        );
    });
}
