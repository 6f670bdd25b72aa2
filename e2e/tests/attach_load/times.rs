//! How much an ADD adds to a chain, the start of the process included.

use std::time::Duration;

use serde_json::json;
use sluice_attachment::protocol::{Nothing, Request, Response};
use sluice_attachment::{Family, HairpinMode, SetName, Treatment};
use sluice_e2e::attach::{ScriptedAgent, Verb};

use crate::crowd::{Crowd, all_succeed};

const PODS: usize = 110;
const ROUNDS: usize = 4;

/// The first, the 50th and the 99th of a hundred.
fn percentiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [0, 50, 99].map(|percent| times[times.len() * percent / 100])
}

/// Bounds hold for the plugin as it is shipped, which `SLUICE_CNI` names; on a machine that has other things to do they say little, so they are
/// asked for by `SLUICE_CNI_TIMES`.
#[test]
fn an_add_takes_milliseconds() {
    let crowd = Crowd::new(PODS, &json!({}));
    let mut agent = None;
    for told in ["without an agent", "with an agent"] {
        let (mut adds, mut dels) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (verb, times) in [(Verb::Add, &mut adds), (Verb::Del, &mut dels)] {
                for n in 0..PODS {
                    let call = crowd.call(verb, n);
                    times.push(call.took);
                    all_succeed(&[call]);
                }
            }
        }
        crowd.holds(0);
        let (add, del) = (percentiles(adds), percentiles(dels));
        eprintln!("{told}, up to {PODS} pods, fastest, p50, p99: ADD {add:?} DEL {del:?}");
        let [_, p50, p99] = add;
        if std::env::var_os("SLUICE_CNI_TIMES").is_some() {
            assert!(p50 <= Duration::from_millis(3) && p99 <= Duration::from_millis(8));
        }
        let sets = [(Family::V4, 4), (Family::V6, 6)].map(|(family, digit)| SetName {
            family,
            name: format!("SLUICE-{digit}-POD-PRESERVE"),
        });
        agent.get_or_insert_with(|| {
            ScriptedAgent::start(&crowd.node.socket(), move |request| match request {
                Request::Attach(_) => Response::Treatment(Treatment {
                    class: None,
                    hairpin: HairpinMode::HairpinVeth,
                    sets: sets.clone().into(),
                    sysctls: Vec::new(),
                }),
                _ => Response::Done(Nothing {}),
            })
            .unwrap()
        });
    }
}
