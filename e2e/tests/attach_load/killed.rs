//! SIGKILL at any step.

use std::time::Instant;

use serde_json::json;
use sluice_e2e::attach::{NOT_IN_INDEX, Verb};

use crate::crowd::{Crowd, all_succeed};

const STEPS: u32 = 120;

/// Every address in a set has a record that says so, which is found by the address: what is killed can be taken back.
fn is_consistent(crowd: &Crowd) {
    let records = crowd.node.remembered().unwrap();
    let known = records.iter().any(|name| name == "pod0:eth0.json");
    let members = crowd.node.members().unwrap();
    assert!(known || members.is_empty(), "{records:?} {members:?}");
    let is_found = !records.iter().any(|name| name.starts_with(NOT_IN_INDEX));
    assert!(is_found, "{records:?}");
}

/// Starts a call, and kills it at each of many moments of the time that it takes on this machine; returns how often it had not ended before.
fn kill_at_all_times(crowd: &Crowd, verb: Verb, after: impl Fn()) -> u32 {
    let whole = || {
        let mut child = crowd.start(verb, 0);
        let began = Instant::now();
        child.wait().unwrap();
        let took = began.elapsed();
        after();
        took
    };
    // Of several: the least is what was measured while the machine had nothing else to do.
    let whole = (0..5).map(|_| whole()).min().unwrap();
    let mut killed = 0;
    for step in 0..STEPS {
        let mut child = crowd.start(verb, 0);
        std::thread::sleep(whole * step / STEPS);
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            killed += 1;
        }
        is_consistent(crowd);
        after();
    }
    killed
}

#[test]
fn an_add_that_is_killed_is_taken_back_by_del() {
    let crowd = Crowd::new(1, &json!({}));
    let killed = kill_at_all_times(&crowd, Verb::Add, || {
        all_succeed(&[crowd.call(Verb::Del, 0)]);
        crowd.holds(0);
    });
    eprintln!("{killed} of {STEPS} were killed on the way");
    assert!(killed > 5);
}

#[test]
fn a_del_that_is_killed_is_done_by_the_next() {
    let crowd = Crowd::new(1, &json!({}));
    all_succeed(&[crowd.call(Verb::Add, 0)]);
    let killed = kill_at_all_times(&crowd, Verb::Del, || {
        all_succeed(&[crowd.call(Verb::Del, 0)]);
        crowd.holds(0);
        all_succeed(&[crowd.call(Verb::Add, 0)]);
        crowd.holds(1);
    });
    eprintln!("{killed} of {STEPS} were killed on the way");
    assert!(killed > 5);
}

#[test]
fn an_add_that_is_killed_is_made_again_as_if_it_had_not_been() {
    let crowd = Crowd::new(1, &json!({}));
    kill_at_all_times(&crowd, Verb::Add, || {
        all_succeed(&[crowd.call(Verb::Add, 0)]);
        crowd.holds(1);
        assert_eq!(crowd.hairpins(), 1);
        all_succeed(&[crowd.call(Verb::Del, 0)]);
        crowd.holds(0);
    });
}
