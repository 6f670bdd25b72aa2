//! Which flows a change leaves, by an in-memory table.

use std::sync::Arc;

use sluice_kernel::conntrack::MemoryConntrack;
use sluice_service_plan::plan::{
    EndpointNode, Frontend, FrontendKind, Masquerade, Pool, PortKey, Refusal, ServiceChange,
};

use super::*;

/// What a service has at one moment.
#[derive(Clone, Copy)]
struct Step {
    usable: &'static [&'static str],
    /// Beside those.
    draining: &'static [&'static str],
}

fn usable(usable: &'static [&'static str]) -> Step {
    Step {
        usable,
        draining: &[],
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoints<'a>(addresses: impl Iterator<Item = &'a &'a str>) -> Arc<[Endpoint]> {
    let endpoint = |address: &&str| Endpoint {
        address: socket(address),
        weight: 1,
        node: EndpointNode::Another,
    };
    addresses.map(endpoint).collect()
}

fn service(protocol: Protocol, step: Step) -> Arc<ServicePlan> {
    let name = ObjectName::new("shop", "dns");
    let serving = step.usable.iter().chain(step.draining);
    let serving = serving.filter(|_| protocol == Protocol::Udp);
    Arc::new(ServicePlan {
        name: name.clone(),
        ports: vec![PortPlan {
            key: PortKey {
                service: name,
                family: Family::V4,
                port: Arc::from("dns"),
                protocol,
            },
            affinity_seconds: None,
            cluster: endpoints(step.usable.iter()),
            local: Arc::new([]),
            serving: endpoints(serving),
            frontends: vec![Frontend {
                address: FrontendAddress::Ip("10.96.0.10".parse().unwrap()),
                port: 53,
                kind: FrontendKind::ClusterIp,
                source_ranges: None,
                outside: Pool::Cluster,
                inside: Pool::Cluster,
                refusal: Refusal::Reject,
                masquerade: Masquerade::Never,
            }],
        }],
        ipvs_scheduler: None,
        health_check: None,
        lost: Vec::new(),
        is_cluster_dns: false,
    })
}

/// A flow whose answers come from `from`; rules translate it.
fn flow(source: &str, destination: &str, from: &str) -> Flow {
    let (source, destination, from) = (socket(source), socket(destination), socket(from));
    let tuple = |a: SocketAddr, b: SocketAddr| Tuple {
        source: a.ip(),
        destination: b.ip(),
        source_port: a.port(),
        destination_port: b.port(),
    };
    Flow {
        family: KernelFamily::V4,
        protocol: IpProtocol::UDP,
        original: tuple(source, destination),
        reply: tuple(from, source),
        zone: 0,
        destination_translated: destination != from,
        source_translated: false,
    }
}

fn by_ipvs(flow: Flow) -> Flow {
    Flow {
        destination_translated: false,
        source_translated: false,
        ..flow
    }
}

fn sctp(flow: Flow) -> Flow {
    Flow {
        protocol: IpProtocol::SCTP,
        ..flow
    }
}

/// A change of the service, which is removed where there is no step after it.
fn change(protocol: Protocol, before: Step, after: Option<Step>) -> PlanChange {
    PlanChange {
        services: vec![ServiceChange {
            name: ObjectName::new("shop", "dns"),
            before: Some(service(protocol, before)),
            after: after.map(|step| service(protocol, step)),
        }],
        node_or_settings: false,
    }
}

fn left_by(stale: &StaleFlows, flows: &[Flow]) -> Vec<Flow> {
    let mut kernel = MemoryConntrack::new();
    for flow in flows {
        kernel.insert(*flow);
    }
    stale.delete(&NodeFacts::default(), &mut kernel).unwrap();
    kernel.flows()
}

fn left_after(before: Step, after: Step, flows: &[Flow]) -> Vec<Flow> {
    let change = change(Protocol::Udp, before, Some(after));
    left_by(&StaleFlows::of(&change, false), flows)
}

const CLIENT: &str = "10.244.0.5:4000";
const OTHER_CLIENT: &str = "10.244.0.6:4000";
const VIP: &str = "10.96.0.10:53";
const A: &str = "10.244.1.1:53";
const B: &str = "10.244.1.2:53";
const DRAINING: Step = Step {
    usable: &[B],
    draining: &[A],
};

#[test]
fn flows_to_an_endpoint_that_went_are_deleted_and_those_to_the_others_stay() {
    let gone = flow(CLIENT, VIP, A);
    let stays = flow(OTHER_CLIENT, VIP, B);
    let foreign = flow(CLIENT, "192.0.2.1:53", "192.0.2.1:53");
    let left = left_after(usable(&[A, B]), usable(&[B]), &[gone, stays, foreign]);
    assert!(
        !left.contains(&gone) && left.contains(&stays) && left.contains(&foreign),
        "{left:?}"
    );
}

#[test]
fn flows_that_rules_translated_stay_with_an_endpoint_as_long_as_it_serves() {
    let kept = flow(CLIENT, VIP, A);
    let draining = change(Protocol::Udp, usable(&[A, B]), Some(DRAINING));
    assert_eq!(
        StaleFlows::of(&draining, false).services().len(),
        0,
        "no dump"
    );
    assert_eq!(left_by(&StaleFlows::of(&draining, true), &[kept]), [kept]);
    let any = service(Protocol::Udp, DRAINING);
    let looked = StaleFlows::of_services([&*any].into_iter());
    assert_eq!(left_by(&looked, &[kept]), [kept]);

    assert_eq!(left_after(DRAINING, usable(&[B]), &[kept]), []);
    let removed = change(Protocol::Udp, DRAINING, None);
    assert_eq!(left_by(&StaleFlows::of(&removed, false), &[kept]), []);
}

#[test]
fn flows_of_ipvs_leave_an_endpoint_that_gets_no_new_ones() {
    let (gone, stays) = (flow(CLIENT, VIP, A), flow(OTHER_CLIENT, VIP, B));
    let flows = [gone, stays].map(by_ipvs);
    let change = change(Protocol::Udp, usable(&[A, B]), Some(DRAINING));
    let left = left_by(&StaleFlows::of(&change, true), &flows);
    assert_eq!(left, flows[1..]);
}

#[test]
fn associations_of_sctp_are_never_deleted() {
    let kept = [flow(CLIENT, VIP, A), by_ipvs(flow(OTHER_CLIENT, VIP, A))].map(sctp);
    for after in [Some(usable(&[B])), Some(usable(&[])), None] {
        let change = change(Protocol::Sctp, usable(&[A, B]), after);
        for has_ipvs in [false, true] {
            let stale = StaleFlows::of(&change, has_ipvs);
            assert_eq!(stale.services().len(), 0, "no dump");
        }
    }
    let any = service(Protocol::Sctp, usable(&[B]));
    let looked = StaleFlows::of_services([&*any].into_iter());
    let untranslated = sctp(flow("10.244.0.7:4000", VIP, VIP));
    let [first, second] = kept;
    assert_eq!(left_by(&looked, &[first, second, untranslated]), kept);
}

#[test]
fn flows_that_were_never_translated_are_deleted_when_they_could_be_also_the_wrong_way_round() {
    let untranslated = flow(CLIENT, VIP, VIP);
    let reversed = flow(VIP, CLIENT, CLIENT);
    assert_eq!(
        left_after(usable(&[]), usable(&[A]), &[untranslated, reversed]),
        []
    );
}
