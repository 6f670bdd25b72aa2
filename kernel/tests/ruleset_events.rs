//! Notices of rule set changes against the kernel, in namespaces of their own.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail as tests do.

mod namespace;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use namespace::{in_new_namespace, sh};
use sluice_kernel::iptables::{Family, Iptables, IptablesPrograms, Variant};
use sluice_kernel::ruleset_events::{ChangedTable, Commit, Notice, RulesetEvents, TableFamily};

fn tables(list: &[(TableFamily, &str)]) -> BTreeSet<ChangedTable> {
    let table = |(family, name): &(TableFamily, &str)| ChangedTable {
        family: *family,
        name: (*name).to_owned(),
    };
    list.iter().map(table).collect()
}

/// The tables that a commit tells of.
fn told(commit: &Commit) -> &BTreeSet<ChangedTable> {
    commit.tables.as_ref().unwrap()
}

/// All commits until nothing comes any more.
fn commits(events: &mut RulesetEvents) -> Vec<Commit> {
    let mut all = Vec::new();
    let mut timeout = Duration::from_secs(5);
    loop {
        let notices = events.wait(timeout).unwrap();
        if notices.is_empty() && timeout < Duration::from_secs(1) {
            return all;
        }
        assert!(!notices.is_empty(), "nothing was heard");
        all.extend(notices.into_iter().map(|notice| match notice {
            Notice::Commit(commit) => commit,
            Notice::Overrun => panic!("overrun"),
        }));
        timeout = Duration::from_millis(50);
    }
}

#[test]
fn a_transaction_tells_who_did_it_and_in_which_tables() {
    in_new_namespace(|| {
        let mut events = RulesetEvents::open().unwrap();
        let process = sh("iptables-nft -t nat -A OUTPUT -j ACCEPT & echo $!; wait $!");
        let heard = commits(&mut events);
        let last = heard.last().unwrap();
        assert_eq!(last.process_id.to_string(), process.trim());
        assert_eq!(last.process_name, "iptables-nft");
        assert_eq!(told(last), &tables(&[(TableFamily::IPV4, "nat")]));

        sh(
            "printf '*nat\n:A - [0:0]\nCOMMIT\n*mangle\n:A - [0:0]\nCOMMIT\n' | ip6tables-nft-restore --noflush",
        );
        let heard = commits(&mut events);
        assert!(
            heard.iter().all(|c| c.process_name == "ip6tables-nft-r"),
            "{heard:?}"
        );
        let touched: BTreeSet<ChangedTable> = heard
            .into_iter()
            .filter_map(|c| c.tables)
            .flatten()
            .collect();
        assert_eq!(
            touched,
            tables(&[(TableFamily::IPV6, "mangle"), (TableFamily::IPV6, "nat")])
        );

        sh(
            "nft 'add table inet firewall; add chain inet firewall c; add rule ip nat OUTPUT accept'",
        );
        let heard = commits(&mut events);
        assert_eq!((heard.len(), heard[0].process_name.as_str()), (1, "nft"));
        assert_eq!(
            told(&heard[0]),
            &tables(&[(TableFamily::INET, "firewall"), (TableFamily::IPV4, "nat")])
        );

        sh("nft 'flush chain ip nat OUTPUT'");
        assert_eq!(
            told(&commits(&mut events)[0]),
            &tables(&[(TableFamily::IPV4, "nat")])
        );
        sh("nft 'delete table inet firewall'");
        assert_eq!(
            told(&commits(&mut events)[0]),
            &tables(&[(TableFamily::INET, "firewall")])
        );
    });
}

#[test]
fn generations_come_in_order_and_sets_do_not_count_as_rules() {
    in_new_namespace(|| {
        sh("nft 'add table ip t; add set ip t s { type ipv4_addr; }'");
        let mut events = RulesetEvents::open().unwrap();
        sh("for n in $(seq 20); do nft add element ip t s { 10.0.0.$n }; done");
        let heard = commits(&mut events);
        assert_eq!(heard.len(), 20);
        assert!(
            heard
                .windows(2)
                .all(|two| two[1].generation == two[0].generation + 1)
        );
        assert!(heard.iter().all(|c| told(c).is_empty()), "{heard:?}");
    });
}

#[test]
fn nothing_is_heard_from_other_namespaces_and_from_the_legacy_variant() {
    in_new_namespace(|| {
        let mut events = RulesetEvents::open().unwrap();
        sh("iptables-legacy -w -t nat -A OUTPUT -j ACCEPT");
        in_new_namespace(|| sh("iptables-nft -t nat -A OUTPUT -j ACCEPT"));
        let begin = Instant::now();
        assert_eq!(events.wait(Duration::from_millis(100)).unwrap(), []);
        assert!(begin.elapsed() >= Duration::from_millis(100));
    });
}

#[test]
fn a_flood_of_rules_costs_the_tables_but_not_the_commit() {
    in_new_namespace(|| {
        let mut events = RulesetEvents::open().unwrap();
        let mut input = "*nat\n:A - [0:0]\n".to_owned();
        for n in 0..80_000 {
            writeln!(
                input,
                "-A A -d 10.{}.{}.{}/32 -j RETURN",
                n >> 16,
                n >> 8 & 255,
                n & 255
            )
            .unwrap();
        }
        input += "COMMIT\n";
        IptablesPrograms::open(Variant::Nft)
            .unwrap()
            .restore(Family::V4, &input)
            .unwrap();
        let heard = commits(&mut events);
        let last = heard.last().unwrap();
        assert_eq!(
            (last.process_name.as_str(), &last.tables),
            ("iptables-nft-re", &None)
        );

        sh("iptables-nft -t nat -A OUTPUT -j ACCEPT");
        assert_eq!(
            told(commits(&mut events).last().unwrap()),
            &tables(&[(TableFamily::IPV4, "nat")])
        );
    });
}

#[test]
fn more_commits_than_can_be_told_are_an_overrun() {
    in_new_namespace(|| {
        sh("nft 'add table ip t; add set ip t s { type ipv4_addr; }'");
        let mut events = RulesetEvents::open().unwrap();
        // `nft -i` commits line by line, in one process.
        sh(
            "for n in $(seq 3000); do echo \"add element ip t s { 10.1.$((n / 250)).$((n % 250)) }\"; done | nft -i",
        );
        let notices = events.wait(Duration::from_secs(5)).unwrap();
        assert_eq!(notices[0], Notice::Overrun);
        sh("nft 'add chain ip t c'");
        assert_eq!(
            told(&commits(&mut events)[0]),
            &tables(&[(TableFamily::IPV4, "t")])
        );
    });
}
