//! Puts a row to the planner's own oracle, `trace`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::Family;
use sluice_service_plan::packet::{self, Origin};
use sluice_service_plan::plan::{Endpoint, Plan};
use sluice_service_plan::trace::{Trace, Verdict, trace};

use super::row::{Expect, Packet, Row, Scene, Source, Target};
use crate::lab::places::{LOCAL_PODS, NODE, Place, REMOTE_NODE, REMOTE_PODS};

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
        let trace = trace(&as_planner_sees(&row.packet, from), plan);
        (!agrees(&trace, &row.expect)).then(|| explain(&trace))
    })
}

/// The oracle's verdict on a row's first packet, and its reasons.
pub fn explanation(row: &Row, plan: &Plan) -> String {
    row.packet
        .from
        .first()
        .map(|from| explain(&trace(&as_planner_sees(&row.packet, from), plan)))
        .unwrap_or_default()
}

fn as_planner_sees(packet: &Packet, from: &Place) -> packet::Packet {
    let family = Family::of(packet.to.ip());
    packet::Packet {
        protocol: packet.protocol,
        source: from.ip(family),
        destination: packet.to,
        origin: Packet::interface(from).map_or(Origin::Node, |interface| {
            Origin::Interface(interface.to_owned())
        }),
    }
}

fn agrees(trace: &Trace, expect: &Expect) -> bool {
    match (&trace.verdict, expect) {
        (Verdict::Reject, Expect::Rejected)
        | (Verdict::Drop, Expect::Dropped)
        | (Verdict::NotOurs, Expect::NotOurs(_)) => true,
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
    match source {
        Source::Kept => !trace.masqueraded(endpoint),
        Source::Masqueraded | Source::Snat(_) | Source::MasqueradedPorts(_) => {
            trace.masqueraded(endpoint)
        }
        Source::Unstated => true,
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
