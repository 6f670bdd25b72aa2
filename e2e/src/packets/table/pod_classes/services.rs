//! What pods of a class send to services.

use ipnet::IpNet;
use sluice_service_plan::model::{Family, PodAction, PodClass, Protocol, Settings};

use super::{
    EXTERNAL, a2, beyond, class, everywhere, hide, keep, nobodys, scene, second, second_address,
    told,
};
use crate::lab::places::{A1, A2, A3, B1, CLIENT, NODE, NODE_SECOND, Place};
use crate::packets::Row;
use crate::packets::build::{
    NODE_PORT, PORT, all_ready, cluster_ip, network, only, outside_ip, ready, web,
};
use crate::packets::row::Source::{self, Kept, Masqueraded, MasqueradedPorts, Snat};
use crate::packets::row::{Expect, Packet, Scene, each, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        let to = Ways::new(family, protocol);
        rows.extend(kept(&to));
        rows.extend(masqueraded(&to));
        rows.extend(translated(&to, family));
    }
    for family in Family::ALL {
        rows.extend(beside(family));
        rows.extend(excluded(family));
        rows.extend(addresses(family));
    }
    rows
}

/// Where a pod of a class sends packets: by which addresses, and to whom.
struct Ways {
    plain: Scene,
    /// With `externalTrafficPolicy: Local`.
    local: Scene,
    /// The pod is its own endpoint.
    itself: Scene,
    vip: Packet,
    external: Packet,
    node_port: Packet,
}

impl Ways {
    fn new(family: Family, protocol: Protocol) -> Self {
        let from = |to, port| packet(A2, protocol, to, port);
        let local = web(family, protocol)
            .node_port(NODE_PORT)
            .external_ip(outside_ip(family, EXTERNAL))
            .external_local();
        Self {
            plain: scene(family, protocol),
            local: Scene::of(local, &all_ready([A1, B1])).set(told),
            itself: Scene::of(web(family, protocol), &[ready(A2)]),
            vip: from(cluster_ip(family, 10), PORT),
            external: from(outside_ip(family, EXTERNAL), PORT),
            node_port: from(NODE.ip(family), NODE_PORT),
        }
    }
}

fn row(scene: &Scene, class: PodClass, sentence: &str, packet: &Packet, expect: Expect) -> Row {
    a2(scene.clone(), class).row(sentence, packet.clone(), expect)
}

fn both(source: Source) -> Expect {
    reaches([A1, B1], source)
}

fn kept(to: &Ways) -> Vec<Row> {
    let plain = to.plain.clone();
    let all = plain.set(|settings| settings.masquerade_all = true);
    let itself = "a pod of a class that keeps the source is masqueraded when it reaches itself";
    [
        (&all, "under masqueradeAll", &to.vip),
        (&to.plain, "towards an external IP", &to.external),
        (&to.plain, "towards a node port", &to.node_port),
    ]
    .into_iter()
    .map(|(scene, when, packet)| {
        let sentence = format!("a class that keeps the source does so {when}");
        row(scene, keep(), &sentence, packet, both(Kept))
    })
    .chain([row(
        &to.itself,
        keep(),
        itself,
        &to.vip,
        reaches([A2], Masqueraded),
    )])
    .collect()
}

fn masqueraded(to: &Ways) -> Vec<Row> {
    let told = to.plain.clone().set(told);
    [
        (&to.plain, "without a detector", &to.vip),
        (&told, "for a pod that the detector tells", &to.vip),
        (
            &to.local,
            "towards an external IP under policy Local",
            &to.external,
        ),
        (
            &to.local,
            "towards a node port under policy Local",
            &to.node_port,
        ),
    ]
    .into_iter()
    .map(|(scene, when, packet)| {
        let sentence = format!("a class that masquerades does so {when}");
        row(scene, hide(), &sentence, packet, both(Masqueraded))
    })
    .collect()
}

fn translated(to: &Ways, family: Family) -> Vec<Row> {
    let itself =
        "a pod of a class with an address of its own is masqueraded when it reaches itself";
    [
        (&to.plain, "a cluster IP", &to.vip),
        (&to.plain, "an external IP", &to.external),
        (&to.local, "a node port under policy Local", &to.node_port),
    ]
    .into_iter()
    .map(|(scene, whom, packet)| {
        let sentence = format!("a class with an address of its own has it towards {whom}");
        let chosen = Snat(vec![NODE_SECOND.ip(family)]);
        row(scene, second(), &sentence, packet, both(chosen))
    })
    .chain([row(
        &to.itself,
        second(),
        itself,
        &to.vip,
        reaches([A2], Masqueraded),
    )])
    .collect()
}

/// Who is in no class.
fn beside(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = |from| packet(from, protocol, cluster_ip(family, 10), PORT);
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
