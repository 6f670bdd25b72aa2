//! Plans and traces against the second opinion.

use proptest::prelude::*;
use sluice_service_plan::trace::{FrontendIndex, Trace, Verdict, trace};

use crate::naive::{Opinion, opinion};
use crate::random;

fn as_opinion(trace: &Trace) -> Opinion {
    match &trace.verdict {
        Verdict::Balance { endpoints, .. } => Opinion::Balance(
            endpoints
                .iter()
                .map(|one| (one.address, trace.masqueraded(one)))
                .collect(),
        ),
        Verdict::Reject => Opinion::Reject,
        Verdict::Drop => Opinion::Drop,
        Verdict::NotOurs => Opinion::NotOurs,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_trace_of_a_plan_agrees_with_the_objects_read_directly(
        world in random::worlds(),
        packets in prop::collection::vec(random::packets(), 40),
    ) {
        let catalog = world.catalog();
        let index = FrontendIndex::new(catalog.plan());
        for packet in packets {
            let traced = index.trace(&packet);
            prop_assert_eq!(as_opinion(&traced), opinion(&world, &packet), "{}: {:?}", packet, traced.steps);
            let scanned = trace(&packet, catalog.plan());
            prop_assert_eq!(traced.verdict, scanned.verdict);
            prop_assert_eq!(traced.steps, scanned.steps);
        }
    }
}
