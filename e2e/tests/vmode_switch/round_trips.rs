//! From iptables rules to IPVS and back, five times.

use std::thread::sleep;
use std::time::Duration;

use sluice_crds::v1alpha1::{ActiveMode, VipBinding};
use sluice_kernel::iptables::Variant;

use crate::node::{Node, Wish};
use crate::traffic::{Loads, routes};

const ROUND_TRIPS: usize = 5;
/// New connections a second on each route.
const CONNECTIONS: u32 = 4;
/// How long a mode serves.
const PHASE: Duration = Duration::from_secs(22);
/// Between two exchanges of a connection that stays.
const EXCHANGES: Duration = Duration::from_secs(5);
/// Between two datagrams of a sender.
const DATAGRAMS: Duration = Duration::from_millis(2500);

fn five_round_trips(binding: VipBinding, variant: Variant) {
    let wish = |mode, drain_seconds| Wish {
        mode,
        binding,
        variant,
        drain_seconds,
    };
    let node = Node::up(wish(ActiveMode::IPTables, None));
    let lab = &node.lab;
    // Of what stays, one half begins in each mode.
    let kept = Loads::kept(lab, 6, EXCHANGES);
    let senders = Loads::senders(lab, 4, DATAGRAMS);
    let new = Loads::new_connections(lab, CONNECTIONS);
    let mut later = None;
    let mut longest = Duration::ZERO;
    sleep(Duration::from_secs(3));
    for _ in 0..ROUND_TRIPS {
        for mode in [ActiveMode::IPVS, ActiveMode::IPTables] {
            node.want(wish(mode, None));
            let took = node.wait_for(mode);
            eprintln!("  {mode} after {:.1} s", took.as_secs_f64());
            longest = longest.max(took);
            later.get_or_insert_with(|| {
                let senders = Loads::senders(lab, 4, DATAGRAMS);
                (Loads::kept(lab, 6, EXCHANGES), senders)
            });
            sleep(PHASE);
        }
    }
    let (kept_later, senders_later) = later.unwrap();
    let kept = [kept.stop(), kept_later.stop()];
    // What IPVS remembers of ended connections may take two minutes to go: the policy cuts it short.
    node.want(wish(ActiveMode::IPTables, Some(0)));
    let gone = node.eventually("IPVS is gone", |node| node.left_of_ipvs().is_empty());
    sleep(Duration::from_secs(3));
    let senders = [senders.stop(), senders_later.stop()];
    let new = new.stop();

    node.tell_complaints();
    let routes = routes().len();
    let sums = |two: &[crate::traffic::Sum; 2]| {
        let [one, other] = two;
        (one.attempts + other.attempts, one.failed + other.failed)
    };
    let ((bytes, bytes_failed), (datagrams, datagrams_failed)) = (sums(&kept), sums(&senders));
    eprintln!(
        "{binding:?}, {variant}: {ROUND_TRIPS} round trips (a switch took at most {:.1} s, the removal {:.1} s)\n  \
         {} new connections: {} failed, slowest {:.2} s\n  \
         {} TCP connections that stayed: {bytes} exchanges, {bytes_failed} failed\n  \
         {} UDP senders: {datagrams} datagrams, {datagrams_failed} failed",
        longest.as_secs_f64(),
        gone.as_secs_f64(),
        new.attempts,
        new.failed,
        new.slowest.as_secs_f64(),
        12 * routes,
        8 * routes,
    );
    assert!(new.attempts >= 10_000, "too little load: {}", new.attempts);
    new.assert_nothing_failed("new connections");
    for kept in &kept {
        kept.assert_nothing_failed("kept connections");
    }
    for senders in &senders {
        senders.assert_nothing_failed("datagrams");
    }
}

#[test]
fn five_round_trips_with_local_routes_lose_nothing() {
    five_round_trips(VipBinding::LocalRoute, Variant::Nft);
}

#[test]
fn five_round_trips_with_addresses_on_a_device_lose_nothing() {
    five_round_trips(VipBinding::Dummy, Variant::Legacy);
}
