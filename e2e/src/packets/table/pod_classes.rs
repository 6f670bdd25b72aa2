//! Pods of a class: as which source their packets arrive.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_service_plan::model::{Family, LocalDetector, PodAction, PodClass, Protocol, Settings};

use crate::lab::places::{
    A1, A2, A3, B1, CLIENT, LAN_INTERFACE, NODE, NODE_SECOND, POD_BRIDGE, Place, ROUTER,
    SERVED_PORTS,
};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, all_ready, cluster_ip, cluster_pod_networks, network, node_pod_networks, only,
    outside_ip, ready, web,
};
use crate::packets::row::Source::{self, Kept, Masqueraded, MasqueradedPorts, Snat};
use crate::packets::row::{Expect, Scene, each, packet, reaches};
use crate::packets::surroundings::{HOST_PORT, Surrounding};

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
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(services(family, protocol));
        rows.extend(egress(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(beside(family));
        rows.extend(excluded(family));
        rows.extend(addresses(family));
        rows.extend(interfaces(family));
        rows.extend(egress_limits(family));
        rows.extend(others(family));
    }
    rows
}

fn services(family: Family, protocol: Protocol) -> Vec<Row> {
    let chosen = || Snat(vec![NODE_SECOND.ip(family)]);
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    let external = packet(A2, protocol, outside_ip(family, EXTERNAL), PORT);
    let node_port = packet(A2, protocol, NODE.ip(family), NODE_PORT);
    let plain = scene(family, protocol);
    let all = plain.clone().set(|settings| settings.masquerade_all = true);
    let local = Scene::of(
        web(family, protocol)
            .node_port(NODE_PORT)
            .external_ip(outside_ip(family, EXTERNAL))
            .external_local(),
        &all_ready([A1, B1]),
    )
    .set(told);
    let itself = Scene::of(web(family, protocol), &[ready(A2)]);
    let both = |source| reaches([A1, B1], source);
    let row = |scene: &Scene, class, sentence: &str, packet: &_, expect| {
        a2(scene.clone(), class).row(sentence, Clone::clone(packet), expect)
    };
    vec![
        row(
            &all,
            keep(),
            "a class that keeps the source does so under masqueradeAll",
            &vip,
            both(Kept),
        ),
        row(
            &plain,
            keep(),
            "a class that keeps the source does so towards an external IP",
            &external,
            both(Kept),
        ),
        row(
            &plain,
            keep(),
            "a class that keeps the source does so towards a node port",
            &node_port,
            both(Kept),
        ),
        row(
            &itself,
            keep(),
            "a pod of a class that keeps the source is masqueraded when it reaches itself",
            &vip,
            reaches([A2], Masqueraded),
        ),
        row(
            &plain,
            hide(),
            "a class that masquerades does so without a detector",
            &vip,
            both(Masqueraded),
        ),
        row(
            &plain.clone().set(told),
            hide(),
            "a class that masquerades does so for a pod that the detector tells",
            &vip,
            both(Masqueraded),
        ),
        row(
            &local,
            hide(),
            "a class that masquerades does so towards an external IP under policy Local",
            &external,
            both(Masqueraded),
        ),
        row(
            &local,
            hide(),
            "a class that masquerades does so towards a node port under policy Local",
            &node_port,
            both(Masqueraded),
        ),
        row(
            &plain,
            second(),
            "a class with an address of its own has it towards a cluster IP",
            &vip,
            both(chosen()),
        ),
        row(
            &plain,
            second(),
            "a class with an address of its own has it towards an external IP",
            &external,
            both(chosen()),
        ),
        row(
            &local,
            second(),
            "a class with an address of its own has it towards a node port under policy Local",
            &node_port,
            both(chosen()),
        ),
        row(
            &itself,
            second(),
            "a pod of a class with an address of its own is masqueraded when it reaches itself",
            &vip,
            reaches([A2], Masqueraded),
        ),
    ]
}

fn beyond(source: Source) -> Expect {
    Expect::Leaves(ROUTER.name, source)
}

/// An address that nobody in the cluster has.
fn nobodys(family: Family) -> IpAddr {
    outside_ip(family, 200)
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

/// Who is in no class.
fn beside(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = |from| packet(from, protocol, cluster_ip(family, 10), PORT);
    let both = |source| reaches([A1, B1], source);
    let plain = scene(family, protocol);
    let all = plain.clone().set(|settings| settings.masquerade_all = true);
    let two = plain
        .clone()
        .set(|settings| settings.pod_classes = vec![keep(), second()])
        .pod(A2, "second");
    vec![
        a2(all, keep()).row(
            "a pod without a class is masqueraded beside one that keeps its source",
            vip(A3),
            both(Masqueraded),
        ),
        a2(plain.clone(), hide()).row(
            "a pod without a class keeps its source beside one that is masqueraded",
            vip(A3),
            both(Kept),
        ),
        a2(plain.clone(), everywhere(second())).row(
            "a pod without a class keeps its source beyond the cluster",
            packet(A3, protocol, nobodys(family), 443),
            beyond(Kept),
        ),
        a2(plain.clone(), keep()).row(
            "a client outside is masqueraded whatever the classes of pods",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            both(Masqueraded),
        ),
        two.clone().row(
            "of two classes a pod's own counts",
            vip(A2),
            both(Snat(vec![NODE_SECOND.ip(family)])),
        ),
        two.pod(A2, "keep").row(
            "a pod that changes its class has the new one",
            packet(A2, protocol, outside_ip(family, EXTERNAL), PORT),
            both(Kept),
        ),
        plain.pod(A2, "gone").row(
            "a pod of a class that there is no more is treated as all are",
            vip(A2),
            both(Kept),
        ),
    ]
}

fn excluded(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    let prefix = if family == Family::V4 { 24 } else { 64 };
    let exclude = |place: Place| {
        move |settings: &mut Settings| {
            settings.exclude_destinations = vec![network(place.ip(family), prefix)];
        }
    };
    let to = |place: Place| Scene::of(web(family, protocol), &[ready(place)]);
    let out = packet(A2, protocol, nobodys(family), 443);
    let mut rows = Vec::new();
    for (what, class) in [("masquerades", hide()), ("has an address", second())] {
        rows.push(a2(to(B1).set(exclude(B1)), class.clone()).row(
            &format!("an excluded destination sees the pod though its class {what}"),
            vip.clone(),
            reaches([B1], Kept),
        ));
        rows.push(a2(to(A2).set(exclude(A2)), class.clone()).row(
            &format!("a pod reaches itself in an excluded network though its class {what}"),
            vip.clone(),
            reaches([A2], Masqueraded),
        ));
        let here = scene(family, protocol).set(|settings| {
            settings.exclude_destinations = vec![network(nobodys(family), prefix)];
        });
        rows.push(a2(here, everywhere(class)).row(
            &format!("an excluded network beyond the cluster sees the pod though its class {what}"),
            out.clone(),
            beyond(Kept),
        ));
    }
    rows
}

fn addresses(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = packet(A2, protocol, cluster_ip(family, 10), PORT);
    let out = packet(A2, protocol, nobodys(family), 443);
    let both = |source| reaches([A1, B1], source);
    let snat = |networks| class("second", PodAction::Snat(networks));
    let plain = scene(family, protocol);
    let other: Vec<IpNet> = second_address()
        .into_iter()
        .filter(|net| Family::of_net(net) != family)
        .collect();
    let pool = vec![only(NODE.ip(family)), only(NODE_SECOND.ip(family))];
    let as_pool = || Snat(vec![NODE.ip(family), NODE_SECOND.ip(family)]);
    let ports = |settings: &mut Settings| settings.snat_ports = Some((20_000, 20_999));
    vec![
        a2(plain.clone(), snat(pool.clone())).row(
            "several addresses of a class share its connections",
            vip.clone(),
            both(as_pool()),
        ),
        a2(plain.clone(), everywhere(snat(pool))).row(
            "several addresses of a class share its connections beyond the cluster",
            out.clone(),
            beyond(as_pool()),
        ),
        a2(plain.clone(), snat(vec![only(outside_ip(family, 99))])).row(
            "a class of which the node holds no address is masqueraded",
            vip.clone(),
            both(Masqueraded),
        ),
        a2(plain.clone(), everywhere(snat(other))).row(
            "a class with addresses of the other family only is masqueraded in this one",
            out,
            beyond(Masqueraded),
        ),
        a2(plain.clone().set(ports), hide()).row(
            "a class that masquerades uses the given source ports",
            vip.clone(),
            both(MasqueradedPorts(20_000..=20_999)),
        ),
        a2(plain.clone().set(ports), second()).row(
            "a class has its address with given source ports too",
            vip.clone(),
            both(Snat(vec![NODE_SECOND.ip(family)])),
        ),
        a2(
            plain.clone().set(|settings| settings.mark_bit = 20),
            second(),
        )
        .row(
            "a class has its address with another mark bit",
            vip.clone(),
            both(Snat(vec![NODE_SECOND.ip(family)])),
        ),
        a2(
            plain.set(|settings| settings.snat_addresses = vec![only(NODE_SECOND.ip(family))]),
            hide(),
        )
        .row(
            "a class that masquerades has the policy's SNAT address",
            vip,
            both(Snat(vec![NODE_SECOND.ip(family)])),
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
