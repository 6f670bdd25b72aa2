//! What pods of a class send beyond the cluster, by which interface, and beside other programs.

use sluice_service_plan::model::{Family, LocalDetector, Protocol, Settings};

use super::{EXTERNAL, a2, beyond, by, everywhere, hide, keep, nobodys, scene, second};
use crate::lab::places::{
    A1, A2, A3, B1, LAN_INTERFACE, NODE, NODE_SECOND, POD_BRIDGE, Place, SERVED_PORTS,
};
use crate::packets::Row;
use crate::packets::build::{
    PORT, cluster_ip, cluster_pod_networks, node_pod_networks, outside_ip, ready, web,
};
use crate::packets::row::Source::{self, Kept, Masqueraded, Snat};
use crate::packets::row::{Expect, Scene, each, packet, reaches};
use crate::packets::surroundings::{HOST_PORT, Surrounding};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(egress(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(interfaces(family));
        rows.extend(egress_limits(family));
        rows.extend(others(family));
    }
    rows
}

fn egress(family: Family, protocol: Protocol) -> Vec<Row> {
    let chosen = || Snat(vec![NODE_SECOND.ip(family)]);
    let plain = scene(family, protocol);
    let out = packet(A2, protocol, nobodys(family), 443);
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    vec![
        a2(plain.clone(), second()).row(
            "a class without egress leaves other traffic alone",
            out.clone(),
            beyond(Kept),
        ),
        a2(plain.clone(), everywhere(second())).row(
            "a class with egress has its address beyond the cluster too",
            out.clone(),
            beyond(chosen()),
        ),
        a2(plain.clone(), everywhere(hide())).row(
            "a class with egress that masquerades does so beyond the cluster too",
            out,
            beyond(Masqueraded),
        ),
        a2(plain, everywhere(second())).row(
            "a class with egress has its address towards services",
            vip,
            reaches([A1, B1], chosen()),
        ),
    ]
}

/// Classes that count for one interface: pods elsewhere are reached by the wire, those here by the bridge.
fn interfaces(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    let to = |place: Place| Scene::of(web(family, protocol), &[ready(place)]);
    let all = |settings: &mut Settings| settings.masquerade_all = true;
    let chosen = || Snat(vec![NODE_SECOND.ip(family)]);
    let out = packet(A2, protocol, nobodys(family), 443);
    vec![
        a2(to(B1), by(LAN_INTERFACE, hide())).row(
            "a class of the wire masquerades what leaves by it",
            vip.clone(),
            reaches([B1], Masqueraded),
        ),
        a2(to(A1), by(LAN_INTERFACE, hide())).row(
            "a class of the wire leaves alone what goes to the bridge",
            vip.clone(),
            reaches([A1], Kept),
        ),
        a2(to(B1).set(all), by(LAN_INTERFACE, keep())).row(
            "a class of the wire keeps the source of what leaves by it",
            vip.clone(),
            reaches([B1], Kept),
        ),
        a2(to(A1).set(all), by(LAN_INTERFACE, keep())).row(
            "what goes to the bridge is masqueraded though a class of the wire keeps the source",
            vip.clone(),
            reaches([A1], Masqueraded),
        ),
        a2(to(A1), by(POD_BRIDGE, second())).row(
            "a class of the bridge has its address there",
            vip.clone(),
            reaches([A1], chosen()),
        ),
        a2(to(B1).set(all), by(POD_BRIDGE, second())).row(
            "a class of the bridge has the address of all on the wire",
            vip.clone(),
            reaches([B1], Masqueraded),
        ),
        a2(to(A2), by(POD_BRIDGE, second())).row(
            "a pod of a class of the bridge is masqueraded when it reaches itself",
            vip,
            reaches([A2], Masqueraded),
        ),
        a2(to(A1), everywhere(by(LAN_INTERFACE, second()))).row(
            "a class of the wire with egress has its address beyond the cluster",
            out.clone(),
            beyond(chosen()),
        ),
        a2(to(A1), everywhere(by("eth9", second()))).row(
            "a class of another interface with egress leaves the wire alone",
            out.clone(),
            beyond(Kept),
        ),
        a2(to(A1), by(LAN_INTERFACE, second())).row(
            "a class of the wire without egress leaves other traffic alone",
            out,
            beyond(Kept),
        ),
    ]
}

fn egress_limits(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let direct = |place: Place| packet(A2, protocol, place.ip(family), SERVED_PORTS[0]);
    let bridge = LocalDetector::BridgeInterface(POD_BRIDGE.to_owned());
    let detectors = [
        ("ClusterCIDR", LocalDetector::Cidrs(cluster_pod_networks())),
        ("NodeCIDR", LocalDetector::Cidrs(node_pod_networks())),
        ("a bridge", bridge),
        ("none", LocalDetector::None),
    ];
    let mut rows = Vec::new();
    for (name, detector) in detectors {
        let scene = scene(family, protocol).set(|settings| settings.detect_local = detector);
        let scene = a2(scene, everywhere(hide()));
        rows.push(scene.row(
            &format!("a class with egress leaves traffic to a pod here alone, detector {name}"),
            direct(A1),
            Expect::Leaves(A1.name, Kept),
        ));
        rows.push(scene.row(
            &format!("a class with egress counts towards nobody's address, detector {name}"),
            packet(A2, protocol, nobodys(family), 443),
            beyond(Masqueraded),
        ));
        if name == "ClusterCIDR" {
            rows.push(scene.row(
                "a class with egress leaves traffic to a pod elsewhere alone",
                direct(B1),
                Expect::Leaves(B1.name, Kept),
            ));
            rows.push(scene.row(
                "a class with egress leaves unlisted ports of services alone",
                packet(A2, protocol, outside_ip(family, EXTERNAL), 81),
                beyond(Kept),
            ));
        }
    }
    rows
}

/// Beside other programs.
fn others(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    let out = packet(A2, protocol, nobodys(family), 443);
    let both = |source| reaches([A1, B1], source);
    let chosen = || Snat(vec![NODE_SECOND.ip(family)]);
    let plain = scene(family, protocol);
    let hidden = plain.clone().beside(Surrounding::PodsMasqueraded);
    let marks = plain.clone().beside(Surrounding::MarksVanish);
    let host_port = plain.beside(Surrounding::HostPort);
    vec![
        a2(hidden.clone(), keep()).row(
            "another program masquerades what a class without egress sends",
            out.clone(),
            beyond(Masqueraded),
        ),
        a2(hidden.clone(), everywhere(keep())).row(
            "no other program masquerades what a class that keeps the source sends",
            out.clone(),
            beyond(Kept),
        ),
        a2(hidden, everywhere(second())).row(
            "no other program masquerades what a class with an address sends",
            out,
            beyond(chosen()),
        ),
        a2(marks.clone(), second()).row(
            "no mark stays on what a class with an address sends",
            vip.clone(),
            both(chosen()),
        ),
        a2(marks.clone(), by(POD_BRIDGE, second())).row(
            "no mark stays on what a class of an interface sends",
            vip.clone(),
            both(Source::Unstated),
        ),
        a2(
            marks.set(|settings| settings.masquerade_all = true),
            by(LAN_INTERFACE, keep()),
        )
        .row(
            "no mark stays on what a class keeps the source of",
            vip,
            both(Source::Unstated),
        ),
        a2(host_port, hide()).row(
            "a class does not count for what another program translates",
            packet(A2, protocol, NODE.ip(family), HOST_PORT),
            Expect::Leaves(A3.name, Kept),
        ),
    ]
}
