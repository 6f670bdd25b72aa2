//! The iptables variant changes while IPVS balances.

use std::thread::sleep;
use std::time::Duration;

use sluice_crds::v1alpha1::{ActiveMode, VipBinding};
use sluice_kernel::iptables::Variant;

use crate::node::{Node, Wish};
use crate::traffic::Loads;

/// Between two exchanges of what stays.
const EXCHANGES: Duration = Duration::from_secs(1);

#[test]
fn a_change_of_the_iptables_variant_under_ipvs_loses_nothing() {
    let wish = |variant| Wish {
        mode: ActiveMode::IPVS,
        binding: VipBinding::LocalRoute,
        variant,
        drain_seconds: None,
    };
    let node = Node::up_without_firewall(wish(Variant::Nft));
    let kept = Loads::kept(&node.lab, 1, EXCHANGES);
    let senders = Loads::senders(&node.lab, 1, EXCHANGES);
    let new = Loads::new_connections(&node.lab, 2);
    sleep(Duration::from_secs(2));
    for (variant, program) in [
        (Variant::Legacy, "iptables-nft"),
        (Variant::Nft, "iptables-legacy"),
    ] {
        node.want(wish(variant));
        node.eventually(&format!("{program} has no rule of ours"), |node| {
            let rules = node.lab.node().command(&format!("{program}-save -t nat"));
            !rules.unwrap().contains("SLUICE-")
        });
        sleep(Duration::from_secs(5));
    }
    let (kept, senders, new) = (kept.stop(), senders.stop(), new.stop());
    node.tell_complaints();
    eprintln!(
        "{} new connections, {} exchanges, {} datagrams",
        new.attempts, kept.attempts, senders.attempts
    );
    assert!(new.attempts > 100, "too little load: {}", new.attempts);
    new.assert_nothing_failed("new connections");
    kept.assert_nothing_failed("kept connections");
    senders.assert_nothing_failed("datagrams");
}
