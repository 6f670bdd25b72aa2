//! The agent is killed in the middle of a switch, and another one starts, which may want either mode.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use sluice_crds::v1alpha1::{ActiveMode, VipBinding};
use sluice_kernel::iptables::Variant;

use crate::node::{Node, Wish};
use crate::traffic::Loads;

/// Between two exchanges of what stays.
const EXCHANGES: Duration = Duration::from_secs(1);

const KILLS: usize = 10;
/// A switch takes about so long on an emulated machine.
const WITHIN_MILLISECONDS: u64 = 4_000;

/// A number below `bound`, from a sequence that is as good as random here.
fn next(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

fn killed_while_it_switches(binding: VipBinding, variant: Variant) {
    let wish = |mode| Wish {
        mode,
        binding,
        variant,
        drain_seconds: None,
    };
    let modes = [ActiveMode::IPTables, ActiveMode::IPVS];
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let mut seed = u64::try_from(elapsed.as_micros()).unwrap();
    eprintln!("seed {seed}");
    let mut node = Node::up(wish(ActiveMode::IPTables));
    let kept = Loads::kept(&node.lab, 1, EXCHANGES);
    let senders = Loads::senders(&node.lab, 1, EXCHANGES);
    let new = Loads::new_connections(&node.lab, 2);
    let begun = Instant::now();
    let mut wanted = 0;
    for kill in 0..KILLS {
        node.want(wish(modes[(kill + 1) % 2]));
        sleep(Duration::from_millis(next(&mut seed, WITHIN_MILLISECONDS)));
        node.agent.kill().unwrap();
        let killed = begun.elapsed();
        wanted = usize::try_from(next(&mut seed, 2)).unwrap();
        node.want(wish(modes[wanted]));
        node.start();
        eprintln!(
            "  killed after {:.1} s, on its way to {}; {} wanted then",
            killed.as_secs_f64(),
            modes[(kill + 1) % 2],
            modes[wanted]
        );
        if kill % 3 == 2 {
            node.wait_for(modes[wanted]);
        }
    }
    node.wait_for(modes[wanted]);
    for mode in modes {
        node.want(wish(mode));
        node.wait_for(mode);
    }
    let (kept, senders, new) = (kept.stop(), senders.stop(), new.stop());
    node.tell_complaints();
    eprintln!(
        "killed {KILLS} times: {} new connections, {} exchanges, {} datagrams",
        new.attempts, kept.attempts, senders.attempts
    );
    assert!(new.attempts > 200, "too little load: {}", new.attempts);
    new.assert_nothing_failed("new connections");
    kept.assert_nothing_failed("kept connections");
    senders.assert_nothing_failed("datagrams");
}

#[test]
fn an_agent_that_is_killed_while_it_switches_loses_nothing_with_local_routes() {
    killed_while_it_switches(VipBinding::LocalRoute, Variant::Legacy);
}

#[test]
fn an_agent_that_is_killed_while_it_switches_loses_nothing_with_addresses_on_a_device() {
    killed_while_it_switches(VipBinding::Dummy, Variant::Nft);
}
