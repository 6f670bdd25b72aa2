//! Puts a row to the planner's own oracle, `trace`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::Family;
use sluice_service_plan::packet::{self, Origin};
use sluice_service_plan::plan::{Endpoint, Plan};
use sluice_service_plan::source;
use sluice_service_plan::trace::{Trace, Verdict, trace};

use super::row::{Expect, Packet, Row, Scene, Source, Target};
use super::surroundings::Surrounding;
use crate::lab::places::{LAN_INTERFACE, LOCAL_PODS, NODE, Place, REMOTE_NODE, REMOTE_PODS};

/// The plan of a scene, made from nothing.
pub fn plan(scene: &Scene) -> Plan {
    let mut catalog = Catalog::new(scene.node.clone(), scene.settings.clone());
    scene
        .services
        .iter()
        .cloned()
        .for_each(|service| catalog.set_service(service));
    scene
        .slices
        .iter()
        .cloned()
        .for_each(|slice| catalog.set_slice(slice));
    catalog.take_changes();
    catalog.plan().clone()
}

/// Where the oracle disagrees with the row: its verdict and its reasons.
pub fn disagreement(row: &Row, plan: &Plan) -> Option<String> {
    row.packet.from.iter().find_map(|from| {
        let trace = trace(&as_planner_sees(row, from), plan);
        (!agrees(&trace, row)).then(|| explain(&trace))
    })
}

/// The oracle's verdict on a row's first packet, and its reasons.
pub fn explanation(row: &Row, plan: &Plan) -> String {
    row.packet
        .from
        .first()
        .map(|from| explain(&trace(&as_planner_sees(row, from), plan)))
        .unwrap_or_default()
}

fn as_planner_sees(row: &Row, from: &Place) -> packet::Packet {
    let packet = &row.packet;
    let family = Family::of(packet.to.ip());
    packet::Packet {
        protocol: packet.protocol,
        source: from.ip(family),
        destination: packet.to,
        origin: Packet::interface(from).map_or(Origin::Node, |interface| {
            Origin::Interface(interface.to_owned())
        }),
        class: row.scene.pods.get(from).map(|class| Arc::from(*class)),
    }
}

fn agrees(trace: &Trace, row: &Row) -> bool {
    match (&trace.verdict, &row.expect) {
        (Verdict::Reject, Expect::Rejected)
        | (Verdict::Drop, Expect::Dropped)
        | (Verdict::NotOurs, Expect::NotOurs(_)) => true,
        (Verdict::NotOurs, Expect::Leaves(_, source)) => {
            let judged = trace.egress_source(LAN_INTERFACE);
            let is_others = row
                .scene
                .surroundings
                .contains(&Surrounding::PodsMasqueraded);
            is_as(&judged, source) || (is_others && judged == source::Source::Kept)
        }
        (
            Verdict::Balance { endpoints, .. },
            Expect::Reaches(targets, source) | Expect::Sticks(targets, source),
        ) => {
            same_set(endpoints, targets)
                && endpoints
                    .iter()
                    .all(|one| source_agrees(trace, one, source))
        }
        (Verdict::Balance { endpoints, .. }, Expect::Splits(shares, source)) => {
            let targets: Vec<Target> = shares.iter().map(|(target, _)| *target).collect();
            let weights_agree = endpoints.iter().all(|endpoint| {
                target(endpoint.address)
                    .is_some_and(|target| shares.contains(&(target, endpoint.weight)))
            });
            weights_agree
                && same_set(endpoints, &targets)
                && endpoints
                    .iter()
                    .all(|one| source_agrees(trace, one, source))
        }
        _ => false,
    }
}

fn same_set(endpoints: &[Endpoint], targets: &[Target]) -> bool {
    let mut planned: Vec<Option<Target>> =
        endpoints.iter().map(|one| target(one.address)).collect();
    let mut expected: Vec<Option<Target>> = targets.iter().copied().map(Some).collect();
    planned.sort_unstable();
    expected.sort_unstable();
    planned == expected
}

fn source_agrees(trace: &Trace, endpoint: &Endpoint, source: &Source) -> bool {
    let place = place_of(endpoint.address.ip());
    let leaves_by = place.and_then(|place| Packet::interface(&place));
    is_as(&trace.source(endpoint, leaves_by), source)
}

fn is_as(judged: &source::Source, source: &Source) -> bool {
    match (judged, source) {
        (_, Source::Unstated)
        | (source::Source::Kept, Source::Kept)
        | (source::Source::Masqueraded, Source::Masqueraded | Source::MasqueradedPorts(_)) => true,
        (source::Source::Snat(judged), Source::Snat(addresses)) => {
            let mut addresses = addresses.clone();
            addresses.sort_unstable();
            *judged == addresses
        }
        _ => false,
    }
}

fn target(address: SocketAddr) -> Option<Target> {
    place_of(address.ip()).map(|place| (place.name, address.port()))
}

fn place_of(ip: IpAddr) -> Option<Place> {
    places().find(|place| place.ip(Family::of(ip)) == ip)
}

/// Everybody who may be an endpoint.
pub(super) fn places() -> impl Iterator<Item = Place> {
    LOCAL_PODS
        .into_iter()
        .chain(REMOTE_PODS)
        .chain([NODE, REMOTE_NODE])
}

fn explain(trace: &Trace) -> String {
    let mut text = match &trace.verdict {
        Verdict::Balance { key, endpoints, .. } => {
            let one = |endpoint: &Endpoint| {
                let source = if trace.masqueraded(endpoint) {
                    "masqueraded"
                } else {
                    "source kept"
                };
                format!(
                    "{} ({source}, weight {})",
                    endpoint.address, endpoint.weight
                )
            };
            let list: Vec<String> = endpoints.iter().map(one).collect();
            format!("{key} to one of {}", list.join(", "))
        }
        other => format!("{other:?}"),
    };
    for step in &trace.steps {
        let _ = write!(text, "\n    - {step}");
    }
    text
}
