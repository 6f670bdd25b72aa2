//! Two hundred at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_attachment::protocol::{Nothing, Request, Response};
use sluice_attachment::{Family, HairpinMode, SetName, Treatment};
use sluice_e2e::attach::{ScriptedAgent, Verb};

use crate::crowd::{Crowd, all_succeed};

const PODS: usize = 200;

fn there_and_back(crowd: &Crowd) {
    all_succeed(&crowd.calls(Verb::Add, 0..PODS));
    crowd.holds(PODS);
    assert_eq!(crowd.hairpins(), PODS);
    all_succeed(&crowd.calls(Verb::Del, 0..PODS));
    crowd.holds(0);
}

#[test]
fn two_hundred_at_once_with_the_agent_away_leave_nothing() {
    let crowd = Crowd::new(PODS, &json!({}));
    there_and_back(&crowd);
    // One half comes while the other goes.
    all_succeed(&crowd.calls(Verb::Add, 0..PODS / 2));
    std::thread::scope(|scope| {
        let going = scope.spawn(|| crowd.calls(Verb::Del, 0..PODS / 2));
        let coming = scope.spawn(|| crowd.calls(Verb::Add, PODS / 2..PODS));
        all_succeed(&going.join().unwrap());
        all_succeed(&coming.join().unwrap());
    });
    crowd.holds(PODS / 2);
    all_succeed(&crowd.calls(Verb::Del, 0..PODS));
    crowd.holds(0);
}

#[test]
fn two_hundred_at_once_with_an_agent_leave_nothing() {
    // On two busy cores the agent may be late for some; which class they have then is the same here.
    let crowd = Crowd::new(PODS, &json!({"agentTimeoutMilliseconds": 10_000}));
    let agent = ScriptedAgent::start(&crowd.node.socket(), |request| match request {
        Request::Attach(_) => Response::Treatment(Treatment {
            class: Some("masquerade".to_owned()),
            hairpin: HairpinMode::HairpinVeth,
            sets: [(Family::V4, "4"), (Family::V6, "6")]
                .map(|(family, digit)| SetName {
                    family,
                    name: format!("SLUICE-{digit}-POD-MASQ"),
                })
                .into(),
            sysctls: Vec::new(),
        }),
        _ => Response::Done(Nothing {}),
    })
    .unwrap();
    there_and_back(&crowd);
    let counts = || {
        let heard = agent.heard();
        let attached = heard.iter().filter(|r| matches!(r, Request::Attach(_)));
        (attached.count(), heard.len())
    };
    // Also what no plugin waited for any more.
    let deadline = Instant::now() + Duration::from_secs(20);
    while counts() != (PODS, 2 * PODS) {
        assert!(Instant::now() < deadline, "{:?}", counts());
        sleep(Duration::from_millis(20));
    }
}
