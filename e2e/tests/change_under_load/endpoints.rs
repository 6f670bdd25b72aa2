//! Endpoints come, terminate and go.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Instant;

use sluice_e2e::changes::{Change, ServedNode, is_refused, lost};
use sluice_e2e::lab::load::{Attempt, Load};
use sluice_e2e::lab::pace::rate;
use sluice_e2e::lab::places::{A1, A2, B1, CLIENT, Place, ROUTER};
use sluice_e2e::lab::{Outcome, Probe};
use sluice_e2e::packets::build::{
    self, EndpointBuilder, REMOTE_ZONE, ZONE, all_ready, draining, ending, ready,
};
use sluice_e2e::packets::planes;
use sluice_service_plan::model::{Family, Protocol};

use crate::traffic::{
    Traffic, answers_of, connections, datagrams, on_each_plane, route, serving, step, vip, vip_of,
    web,
};

#[test]
fn endpoints_come_and_go_one_by_one_and_nothing_fails() {
    on_each_plane(|node| {
        let all = [A1, A2, B1];
        node.serve(&web(), &all_ready(all)).unwrap();
        let traffic = Family::ALL.map(|family| Traffic::start(node, CLIENT, vip_of(family)));
        let mut removals: Vec<(Place, Change, Instant)> = Vec::new();
        for gone in all {
            let left: Vec<EndpointBuilder> =
                all.into_iter().filter(|p| *p != gone).map(ready).collect();
            let removal = node.serve(&web(), &left).unwrap();
            sleep(step());
            removals.push((gone, removal, Instant::now()));
            node.serve(&web(), &all_ready(all)).unwrap();
            sleep(step());
        }
        let mut moved = 0;
        for (family, traffic) in Family::ALL.into_iter().zip(traffic) {
            let report = traffic.stop();
            report.assert_nothing_lost(&format!("{family:?} endpoints come and go"), |attempt| {
                removals
                    .iter()
                    .any(|(_, removal, _)| removal.meets(attempt))
            });
            assert_eq!(report.new.answers().len(), all.len());
            let mut back_before = report.datagrams.started;
            for (gone, removal, back) in &removals {
                // Senders never pause: those that it answered until now must be answered by another.
                moved += answers_of(&report.datagrams, gone, back_before, removal.began);
                back_before = *back;
                for load in [&report.new, &report.datagrams] {
                    assert_eq!(
                        answers_of(load, gone, removal.done, *back),
                        0,
                        "{}",
                        gone.name
                    );
                }
            }
        }
        assert!(moved > 0, "no steady sender was moved");
    });
}

#[test]
fn a_service_that_goes_from_no_endpoint_to_some_and_back_refuses_or_answers_and_loses_nothing() {
    on_each_plane(|node| {
        node.serve(&web(), &[]).unwrap();
        let mut new = Load::new_connections(node.lab(), route(CLIENT, vip()), rate(200)).unwrap();
        let mut senders =
            Load::datagrams(node.lab(), route(CLIENT, vip()), 4, datagrams()).unwrap();
        sleep(step());
        for load in [&mut new, &mut senders] {
            load.wait_until(|seen| seen.iter().any(is_refused));
        }
        let mut phases: Vec<(Change, Instant)> = Vec::new();
        let mut removals = Vec::new();
        for _ in 0..5 {
            let some = node.serve(&web(), &all_ready([A1, A2, B1])).unwrap();
            sleep(step());
            phases.push((some, Instant::now()));
            removals.push(node.serve(&web(), &[]).unwrap());
            sleep(step());
        }
        let last = node.serve(&web(), &all_ready([A1, A2])).unwrap();
        sleep(step());
        let (new, senders) = (new.stop().unwrap(), senders.stop().unwrap());
        phases.push((last, Instant::now()));

        let has_endpoint = |attempt: &Attempt| {
            phases
                .iter()
                .any(|(some, until)| some.is_before(attempt) && attempt.at + attempt.took < *until)
        };
        let excused = |attempt: &Attempt| is_refused(attempt) && !has_endpoint(attempt);
        eprintln!(
            "  {} connections, {} of them refused; {} datagrams, {} of them not answered",
            new.attempts.len(),
            new.failures().len(),
            senders.attempts.len(),
            senders.failures().len()
        );
        assert_eq!(lost(&new, excused), [""; 0], "connections");
        let in_flight = |attempt: &Attempt| removals.iter().any(|removal| removal.meets(attempt));
        for answers in [new.answers(), senders.answers()] {
            assert!(
                !answers.contains_key(ROUTER.name),
                "not translated: {answers:?}"
            );
        }
        assert_eq!(
            lost(&senders, |attempt| excused(attempt) || in_flight(attempt)),
            [""; 0],
            "datagrams"
        );
        assert!(new.failures().iter().any(|(_, o)| **o == Outcome::Refused));
        assert!(
            senders
                .failures()
                .iter()
                .any(|(_, o)| **o == Outcome::Refused)
        );
    });
}

#[test]
fn an_endpoint_that_terminates_keeps_its_connections_and_gets_no_new_ones() {
    const CONNECTIONS: usize = 8;
    on_each_plane(|node| {
        node.serve(&web(), &all_ready([A1])).unwrap();
        let mut kept =
            Load::long_lived(node.lab(), route(CLIENT, vip()), CONNECTIONS, rate(40)).unwrap();
        sleep(step());
        kept.wait_until(|seen| seen.len() >= CONNECTIONS);
        let mut new =
            Load::new_connections(node.lab(), route(CLIENT, vip()), connections()).unwrap();
        let both = node.serve(&web(), &all_ready([A1, A2])).unwrap();
        sleep(step());
        new.wait_until(|seen| has_answered(&A2, seen, &both));
        // It terminates, then serves no more, then is gone from the slice.
        let change = node.serve(&web(), &[draining(A1), ready(A2)]).unwrap();
        sleep(step());
        node.serve(&web(), &[ending(A1), ready(A2)]).unwrap();
        sleep(step());
        node.serve(&web(), &[ready(A2)]).unwrap();
        sleep(step());
        kept.wait_until(|seen| seen.len() > CONNECTIONS * 10);
        let (new, kept) = (new.stop().unwrap(), kept.stop().unwrap());
        assert_eq!(lost(&new, |_| false), [""; 0]);
        assert_eq!(lost(&kept, |_| false), [""; 0]);
        let answers = kept.answers();
        assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [A1.name]);
        assert!(answers[A1.name] > CONNECTIONS * 10, "{answers:?}");
        assert!(answers_of(&new, &A2, both.done, change.began) > 0);
        let end = Instant::now();
        assert_eq!(answers_of(&new, &A1, change.done, end), 0);
    });
}

#[test]
fn udp_flows_stay_with_an_endpoint_that_serves_unless_ipvs_has_them() {
    const SENDERS: usize = 4;
    for plane in planes::here() {
        eprintln!("on {}:", plane.name);
        let node = &mut serving(plane);
        node.serve(&web(), &[ready(B1)]).unwrap();
        let mut senders =
            Load::datagrams(node.lab(), route(CLIENT, vip()), SENDERS, datagrams()).unwrap();
        // Flows that begin later go elsewhere.
        senders.wait_until(|seen| clients(seen) == SENDERS);
        // Each takes it away from new flows.
        let (hinted, local) = (
            [ready(B1).for_zone(REMOTE_ZONE), ready(A2).for_zone(ZONE)],
            all_ready([B1, A2]),
        );
        let changes = [
            (web(), vec![draining(B1), ready(A2)]),
            (web(), hinted.to_vec()),
            (web().internal_local(), local),
        ];
        let [first, ..] = changes.map(|(service, endpoints)| {
            let change = node.serve(&service, &endpoints).unwrap();
            sleep(step());
            change
        });
        let gone = node.serve(&web(), &[ready(A2)]).unwrap();
        sleep(step());
        let leaving = if plane.ipvs.is_some() { &first } else { &gone };
        senders.wait_until(|seen| has_answered(&A2, seen, leaving));
        let senders = senders.stop().unwrap();
        assert_eq!(lost(&senders, |attempt| leaving.meets(attempt)), [""; 0]);
        let end = Instant::now();
        assert!(answers_of(&senders, &B1, senders.started, leaving.began) > 0);
        assert_eq!(answers_of(&senders, &A2, senders.started, leaving.began), 0);
        assert_eq!(answers_of(&senders, &B1, leaving.done, end), 0);
        assert!(answers_of(&senders, &A2, leaving.done, end) > 0);
    }
}

/// It answered what was sent after a change.
fn has_answered(pod: &Place, seen: &[Attempt], change: &Change) -> bool {
    let mut later = seen.iter().filter(|attempt| change.is_before(attempt));
    later.any(|attempt| attempt.outcome.endpoint() == Some(pod.name))
}

/// How many were answered.
fn clients(seen: &[Attempt]) -> usize {
    let sources = seen.iter().filter_map(|attempt| match attempt.outcome {
        Outcome::Reached { source, .. } => Some(source),
        _ => None,
    });
    sources.collect::<BTreeSet<_>>().len()
}

#[test]
fn an_association_of_sctp_stays_with_its_endpoint() {
    // By an INIT that is sent again, which no association does that is open: IPVS takes it for a new one where its endpoint leaves.
    for plane in planes::here().filter(|plane| plane.ipvs.is_none()) {
        eprintln!("on {}:", plane.name);
        let node = &mut serving(plane);
        // What was not answered by the client is forgotten after 3 s else.
        for state in ["cookie_wait", "cookie_echoed"] {
            let path = format!("net/netfilter/nf_conntrack_sctp_timeout_{state}");
            node.lab().node().sysctl(&path, "300").unwrap();
        }
        let service = build::web(Family::V4, Protocol::Sctp);
        let new = Probe::new(Protocol::Sctp, Some(CLIENT.ip(Family::V4)), vip());
        let kept = Probe {
            source_port: Some(32_999),
            ..new
        };
        node.serve(&service, &[ready(A1)]).unwrap();
        let answers = |node: &ServedNode, probe| {
            let outcome = node.lab().probe(&CLIENT, probe).unwrap();
            outcome.endpoint().map(str::to_owned)
        };
        assert_eq!(answers(node, &kept).as_deref(), Some(A1.name));
        for leaving in [Some(draining(A1)), Some(ending(A1)), None] {
            let endpoints: Vec<_> = leaving.into_iter().chain([ready(A2)]).collect();
            node.serve(&service, &endpoints).unwrap();
            assert_eq!(answers(node, &kept).as_deref(), Some(A1.name));
            assert_eq!(answers(node, &new).as_deref(), Some(A2.name));
        }
    }
}
