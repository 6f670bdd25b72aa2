//! Running the programs: sizes, errors, and which variant there is.

use std::fmt::Write;
use std::time::Duration;

use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, IptablesPrograms, Reason, Table, Variant, detect_variant,
    try_variant,
};

use crate::namespace::{in_new_namespace, sh};
use crate::{FAMILIES, open, rules, usable_variants};

#[test]
fn ten_megabytes_are_restored() {
    for variant in usable_variants() {
        in_new_namespace(|| {
            let mut input = "*nat\n:A - [0:0]\n".to_owned();
            let mut count = 0;
            while input.len() < 10 << 20 {
                let comment = "x".repeat(200);
                writeln!(
                    input,
                    "-A A -d 10.{}.{}.{}/32 -m comment --comment {comment} -j RETURN",
                    count >> 16,
                    count >> 8 & 255,
                    count & 255
                )
                .unwrap();
                count += 1;
            }
            input += "COMMIT\n";
            let mut door = open(variant);
            door.restore(Family::V4, &input).unwrap();
            assert_eq!(door.bytes_written(), input.len() as u64);
            assert_eq!(rules(&mut door, Family::V4, Table::Nat, "A").len(), count);
        });
    }
}

#[test]
fn the_refused_line_is_quoted_with_its_neighbours() {
    for variant in usable_variants() {
        in_new_namespace(|| {
            let input =
                "*nat\n:A - [0:0]\n-A A -j ACCEPT\n-A A --nonsense\n-A A -j RETURN\nCOMMIT\n";
            let message = open(variant)
                .restore(Family::V4, input)
                .unwrap_err()
                .to_string();
            assert!(message.contains("refused line 4"), "{message}");
            assert!(message.contains("\n  > 4: -A A --nonsense\n"), "{message}");
            assert!(message.contains("--nonsense\"\n"), "{message}");
        });
    }
}

#[test]
fn a_held_lock_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("xtables.lock");
    let file = std::fs::File::create(&lock).unwrap();
    let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap();
    in_new_namespace(|| {
        let limits = |d: IptablesPrograms| {
            d.with_limits(Duration::from_secs(1), Duration::from_secs(20))
                .with_lock_file(&lock)
        };
        let mut door = limits(open(Variant::Legacy));
        let error = door
            .restore(Family::V4, "*nat\n:A - [0:0]\nCOMMIT\n")
            .unwrap_err();
        assert!(
            matches!(error, IptablesError::LockHeld { waited_seconds: 1 }),
            "{error:?}"
        );
        limits(open(Variant::Nft))
            .restore(Family::V4, "*nat\n:A - [0:0]\nCOMMIT\n")
            .unwrap();
        drop(held);
        door.restore(Family::V4, "*nat\n:A - [0:0]\nCOMMIT\n")
            .unwrap();
    });
}

#[test]
fn a_table_that_iptables_cannot_list_is_told_apart() {
    in_new_namespace(|| {
        sh(
            "nft 'add table ip nat; add chain ip nat foreign; add rule ip nat foreign meta mark set numgen inc mod 2'",
        );
        let error = open(Variant::Nft)
            .save(Family::V4, Table::Nat, &|_| true)
            .unwrap_err();
        assert!(
            matches!(
                error,
                IptablesError::Unlistable {
                    table: Table::Nat,
                    family: Family::V4
                }
            ),
            "{error:?}"
        );
        open(Variant::Nft)
            .save(Family::V6, Table::Nat, &|_| true)
            .unwrap();
    });
}

#[test]
fn the_variant_of_a_node_is_detected_without_a_trace() {
    in_new_namespace(|| {
        let plain = if sh("iptables --version").contains("legacy") {
            Variant::Legacy
        } else {
            Variant::Nft
        };
        assert_eq!(detect_variant().unwrap(), (plain, Reason::PlainProgram));
        assert_eq!(
            sh("nft list ruleset; cat /proc/thread-self/net/ip_tables_names"),
            ""
        );

        sh(
            "iptables-legacy -w -t nat -N SOMEBODY; iptables-legacy -w -t nat -A SOMEBODY -j RETURN",
        );
        assert_eq!(
            detect_variant().unwrap(),
            (Variant::Legacy, Reason::MoreRules)
        );
        assert_eq!(sh("cat /proc/thread-self/net/ip_tables_names"), "nat\n");

        sh("iptables-nft -t mangle -N KUBE-IPTABLES-HINT");
        assert_eq!(
            detect_variant().unwrap(),
            (Variant::Nft, Reason::KubeletChain)
        );

        sh(
            "iptables-nft -t mangle -X KUBE-IPTABLES-HINT; ip6tables-legacy -w -t mangle -N KUBE-KUBELET-CANARY",
        );
        assert_eq!(
            detect_variant().unwrap(),
            (Variant::Legacy, Reason::KubeletChain)
        );
    });
}

#[test]
fn a_variant_is_tried_without_a_trace() {
    in_new_namespace(|| {
        for (variant, family) in usable_variants()
            .into_iter()
            .flat_map(|v| FAMILIES.map(|f| (v, f)))
        {
            let sample = "*nat\n:TRIAL - [0:0]\n-A TRIAL -m statistic --mode random --probability 0.5 -j MASQUERADE --random-fully\nCOMMIT\n";
            try_variant(variant, family, sample).unwrap();
            let error = try_variant(
                variant,
                family,
                &sample.replace("-m statistic", "-m nonesuch"),
            )
            .unwrap_err();
            assert!(
                matches!(
                    error,
                    IptablesError::Unsupported {
                        table: Some(Table::Nat),
                        ..
                    }
                ),
                "{error:?}"
            );
        }
        assert_eq!(
            sh("nft list ruleset; cat /proc/thread-self/net/ip_tables_names"),
            ""
        );
    });
}
