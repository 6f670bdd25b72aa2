//! The listing of base chains against the kernel, in namespaces of its own.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod namespace;

use namespace::{in_new_namespace, sh, skip};
use sluice_kernel::base_chains::{BaseChain, Hook, base_chains, ends_refusing};
use sluice_kernel::ruleset_events::TableFamily;

fn has_nft() -> bool {
    std::process::Command::new("nft").arg("-v").output().is_ok()
}

#[test]
fn chains_of_every_program_are_listed_with_hook_priority_and_policy_and_no_others() {
    in_new_namespace(|| {
        assert_eq!(base_chains().unwrap(), []);
        if !has_nft() {
            return skip("nft is not installed");
        }
        sh("nft add table inet firewall
            nft 'add chain inet firewall in { type filter hook input priority -10; policy drop; }'
            nft add chain inet firewall other
            iptables-nft -t filter -A FORWARD -j ACCEPT");
        let chain = |family, table: &str, name: &str, hook, priority, drops| BaseChain {
            family,
            table: table.to_owned(),
            name: name.to_owned(),
            hook,
            priority,
            drops,
        };
        let listed = base_chains().unwrap();
        let firewall = chain(TableFamily::INET, "firewall", "in", Hook::INPUT, -10, true);
        let filter = chain(
            TableFamily::IPV4,
            "filter",
            "FORWARD",
            Hook::FORWARD,
            0,
            false,
        );
        for expected in [firewall, filter] {
            assert!(listed.contains(&expected), "{expected:?} in {listed:?}");
        }
        assert!(
            listed.iter().all(|chain| chain.name != "other"),
            "{listed:?}"
        );
    });
}

#[test]
fn a_chain_that_ends_with_a_rule_against_everything_is_known() {
    in_new_namespace(|| {
        if !has_nft() {
            return skip("nft is not installed");
        }
        sh("nft add table inet firewall
            nft 'add chain inet firewall other'
            nft 'add rule inet firewall other drop'
            nft 'add chain inet firewall in { type filter hook input priority 10; policy accept; }'");
        let chains = base_chains().unwrap();
        let chain = &chains[0];
        let rule_makes_it = |rule: &str, refusing: bool| {
            sh(&format!("nft add rule inet firewall in {rule}"));
            assert_eq!(ends_refusing(chain).unwrap(), refusing, "{rule}");
        };
        rule_makes_it("ct state established accept", false);
        rule_makes_it("tcp dport 22 reject", false);
        rule_makes_it("counter reject with icmpx admin-prohibited", true);
        rule_makes_it("accept", false);
        rule_makes_it("log drop", true);
    });
}
