//! The agent is killed, and starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use sluice_e2e::agent_process::replace;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, A2, A3, B1};
use sluice_kernel::iptables::Variant;

use crate::node::{
    agent, assert_nothing_lost, cluster, eventually, load, manifest, node_port, start,
};

/// A number below `bound`, from a sequence that is as good as random here.
fn next(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

fn killed_again_and_again(variant: Variant) {
    const KILLS: usize = 15;
    const SERVICES: u8 = 8;
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(variant) else {
        return;
    };
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];

    let stop = Arc::new(AtomicBool::new(false));
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let mut seed = u64::try_from(elapsed.as_micros()).unwrap();
    eprintln!("{variant}: seed {seed}");
    let (stopped, manifests, beside) = (stop.clone(), agent.path("manifests"), agent.path("other"));
    let mut edits_seed = seed ^ 0xff;
    let editor = std::thread::spawn(move || {
        let mut edits = 0;
        while !stopped.load(Ordering::Relaxed) {
            for n in 1..=SERVICES {
                // Service 1 always has an endpoint; the others come and go too.
                let pods = [A1, A2, A3, B1];
                let picked = usize::try_from(next(&mut edits_seed, 4)).unwrap();
                let some = if n == 1 {
                    &pods[picked..]
                } else {
                    &pods[..picked]
                };
                let file = manifests.join(format!("s{n}.yaml"));
                replace(&beside, &file, &manifest(n, some)).unwrap();
                edits += 1;
            }
            sleep(stretched(Duration::from_millis(
                5 + next(&mut edits_seed, 60),
            )));
        }
        edits
    });
    for _ in 0..KILLS {
        sleep(stretched(Duration::from_millis(next(&mut seed, 400))));
        agent.kill().unwrap();
        agent.start(lab.node()).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let edits = editor.join().unwrap();
    eventually("it is healthy", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    eventually("the kernel is as it should be", &agent, |agent| {
        agent.difference(lab.node()).unwrap().is_empty()
    });
    eprintln!("{variant}: killed {KILLS} times during {edits} edits");
    assert_nothing_lost(loads);
}

#[test]
fn an_agent_that_is_killed_again_and_again_while_everything_changes_loses_nothing_with_nft() {
    killed_again_and_again(Variant::Nft);
}

#[test]
fn an_agent_that_is_killed_again_and_again_while_everything_changes_loses_nothing_with_legacy() {
    killed_again_and_again(Variant::Legacy);
}
