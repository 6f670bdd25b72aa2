//! Clients that stay with an endpoint.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::changes::{ServedNode, lost};
use sluice_e2e::lab::Probe;
use sluice_e2e::lab::load::Load;
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT};
use sluice_e2e::packets::build::all_ready;
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_service_plan::model::{Family, Protocol};

use crate::traffic::{connections, route, serving, vip, web};

/// A timeout to begin with, and for how long a client is known that is silent after it was changed to 2 s: IPVS remembers a client
/// it knows for as long as it did when the client came.
fn remembered(plane: &PlaneUnderTest) -> (u32, Duration) {
    match plane.ipvs {
        None => (30, Duration::from_secs(2)),
        Some(_) => (15, Duration::from_secs(15)),
    }
}

#[test]
fn affinity_survives_the_changes_of_others_moves_with_its_endpoint_and_expires() {
    const CLIENTS: u8 = 16;
    let affine = |seconds| web().affinity(seconds);
    let picks = |node: &ServedNode| -> Vec<String> {
        (0..CLIENTS)
            .map(|n| {
                let from = CLIENT.shifted(n);
                let probe = Probe::new(Protocol::Tcp, Some(from.ip(Family::V4)), vip());
                let outcome = node.lab().probe(&from, &probe).unwrap();
                outcome
                    .endpoint()
                    .unwrap_or_else(|| panic!("client {n}: {outcome}"))
                    .to_owned()
            })
            .collect()
    };
    for plane in planes::here() {
        eprintln!("on {}:", plane.name);
        let node = &mut serving(plane);
        let (timeout, known_for) = remembered(plane);
        let all = [A1, A2, A3, B1];
        node.serve(&affine(timeout), &all_ready([A1, A2, A3]))
            .unwrap();
        let steady = CLIENT.shifted(CLIENTS);
        let load = Load::new_connections(node.lab(), route(steady, vip()), connections()).unwrap();
        let first = picks(node);
        assert!(first.iter().collect::<BTreeSet<_>>().len() > 1, "{first:?}");
        node.serve(&affine(timeout), &all_ready(all)).unwrap();
        assert_eq!(picks(node), first, "an endpoint was added");

        let gone = A1;
        node.serve(&affine(timeout), &all_ready([A2, A3, B1]))
            .unwrap();
        for (was, is) in first.iter().zip(picks(node)) {
            assert!(
                is != gone.name && (*was == is || *was == gone.name),
                "{was} -> {is}"
            );
        }
        let second = picks(node);
        // A new timeout forgets no client.
        node.serve(&affine(20), &all_ready([A2, A3, B1])).unwrap();
        assert_eq!(picks(node), second, "the timeout was changed");
        sleep(Duration::from_secs(1));
        assert_eq!(picks(node), second, "not silent for long enough");
        let report = load.stop().unwrap();
        eprintln!(
            "  {} connections of a steady client: {:?}",
            report.attempts.len(),
            report.answers()
        );
        assert_eq!(lost(&report, |_| false), [""; 0]);
        // It never paused, so it moved only if its endpoint went.
        assert!(report.answers().len() <= 2, "{:?}", report.answers());

        node.serve(&affine(2), &all_ready([A2, A3, B1])).unwrap();
        sleep(known_for + Duration::from_millis(1300));
        // The chance that all pick the same again is 3^-16.
        assert_ne!(picks(node), second, "affinity did not expire");
    }
}
