//! How rules that were written are listed.

use sluice_kernel::iptables::{Family, Iptables, Table, canonical};

use crate::namespace::{in_new_namespace, sh};
use crate::{FAMILIES, open, rules, usable_variants};

/// Rules as Sluice writes them, with `{placeholders}` for what differs between the families. Both variants print them
/// letter by letter, so what was written can be compared with what is listed.
const NAT_RULES: &[&str] = &[
    "-m statistic --mode random --probability 0.33333333349 -j B",
    "-m statistic --mode random --probability 0.50000000000 -j B",
    "-p tcp -m tcp --dport 80 -j B",
    "-p udp -m udp --dport 80 -j B",
    "-p sctp -m sctp --dport 80 -j B",
    "-p tcp -m tcp --dport 0:32767 -j B",
    "-p udp -m udp --dport 32768:65535 -j B",
    "-p sctp -m sctp --dport 100:200 -j B",
    "-p tcp -m tcp ! --dport 80 -j B",
    "-p tcp -m multiport --dports 80,443 -j B",
    "! -s {net} -j B",
    "-s {host} -j B",
    "-s {net} ! -d {host} -i lo -o eth0 -p udp -j B",
    "-d {host} -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.14285714272 -m comment --comment \"a/b:c cluster IP\" -j B",
    "-m comment --comment x -j B",
    "-m comment --comment \"ns/svc:port\" -j B",
    "-m set --match-set PORTS dst,dst -j B",
    "-m set ! --match-set PORTS dst,dst -j B",
    "-m set --match-set PORTS dst,dst -m conntrack --ctstate NEW -j B",
    "-j SET --add-set HOSTS src --exist --timeout 100",
    "-j SET --add-set HOSTS src --exist",
    "-j SET --del-set HOSTS src",
    "-p tcp -j DNAT --to-destination {endpoint}",
    "-p sctp -m sctp --dport 80 -j DNAT --to-destination {endpoint}",
    "-j DNAT --to-destination {address}",
    "-j MASQUERADE",
    "-j MASQUERADE --random-fully",
    "-p tcp -j MASQUERADE --to-ports 1024-65535 --random-fully",
    "-p udp -j MASQUERADE --to-ports 1024-65535",
    "-p tcp -j SNAT --to-source {ports} --random-fully",
    "-j SNAT --to-source {address} --random-fully",
    "-j MARK --set-xmark 0x4000/0x4000",
    "-j MARK --set-xmark 0x0/0x4000",
    "-m mark --mark 0x4000/0x4000 -j B",
    "-m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-m addrtype --dst-type LOCAL -j B",
    "-m addrtype --src-type LOCAL -m addrtype ! --dst-type LOCAL -j B",
    "-m conntrack --ctstate NEW -j B",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j B",
    "-m conntrack --ctstate DNAT -j B",
    "-m conntrack --ctorigdst {address} -j B",
    "-m conntrack --ctorigdst {net} --ctorigdstport 80 -j B",
    "-m conntrack --ctorigdst {address} --ctdir ORIGINAL -j B",
    "-i cali+ -j B",
    "! -i lo -j B",
    "-g B",
    "",
];

const FILTER_RULES: &[&str] = &[
    "-p tcp -j REJECT --reject-with tcp-reset",
    "-j REJECT --reject-with {unreachable}",
    "-m set --match-set PORTS dst,dst -m comment --comment \"no endpoints\" -j REJECT --reject-with {unreachable}",
    "-m conntrack --ctstate INVALID -j DROP",
    "-j DROP",
];

/// Rules that both variants print otherwise than they were written.
const RESPELLED: &[&str] = &[
    "-m statistic --mode random --probability 0.5 -j B",
    "-m statistic --mode random --probability 0.0001 -j B",
    "-m statistic --mode random --probability 0.333333 -j B",
    "-m comment --comment \"x\" -j B",
    "-m comment --comment ns/svc:port -j B",
    "-m comment --comment \"it's \\\"quoted\\\"\" -j B",
    "-j MARK --or-mark 0x4000",
    "-j MARK --and-mark 0xffffbfff",
    "-j MARK --xor-mark 0x4000",
    "-j MARK --set-mark 0x4000",
    "-j MARK --set-mark 0x1/0x4000",
    "-m mark --mark 16384/16384 -j B",
    "-m conntrack --ctorigdst {host} -j B",
    "-p 6 -m tcp --dport 80 -j B",
    "-d {any} -j B",
    "-s {address} -j B",
];

fn of_family(rule: &str, family: Family) -> String {
    let (host, address, net, any, unreachable) = match family {
        Family::V4 => (
            "10.0.0.1/32",
            "10.0.0.1",
            "10.1.0.0/16",
            "0.0.0.0/0",
            "icmp-port-unreachable",
        ),
        Family::V6 => (
            "fd00::1/128",
            "fd00::1",
            "fd00:1::/64",
            "::/0",
            "icmp6-port-unreachable",
        ),
    };
    let bracketed = if family == Family::V6 {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    rule.replace("{host}", host)
        .replace("{address}", address)
        .replace("{net}", net)
        .replace("{any}", any)
        .replace("{unreachable}", unreachable)
        .replace("{endpoint}", &format!("{bracketed}:80"))
        .replace("{ports}", &format!("{bracketed}:1024-65535"))
}

fn restore_and_list(
    door: &mut dyn Iptables,
    family: Family,
    table: Table,
    written: &[String],
) -> Vec<String> {
    let appended: String = written
        .iter()
        .flat_map(|rule| ["-A A ", rule, "\n"])
        .collect();
    let input = format!("*{table}\n:A - [0:0]\n:B - [0:0]\n{appended}COMMIT\n");
    door.restore(family, &input)
        .unwrap_or_else(|e| panic!("{}: {e}", door.variant()));
    rules(door, family, table, "A")
}

fn in_namespace_with_sets(test: impl FnOnce() + Send) {
    in_new_namespace(|| {
        sh(
            "ipset create PORTS4 hash:ip,port family inet; ipset create HOSTS4 hash:ip family inet timeout 100",
        );
        sh(
            "ipset create PORTS6 hash:ip,port family inet6; ipset create HOSTS6 hash:ip family inet6 timeout 100",
        );
        test();
    });
}

fn with_set_names(rule: &str, family: Family) -> String {
    let digit = if family == Family::V4 { "4" } else { "6" };
    of_family(rule, family)
        .replace("PORTS", &format!("PORTS{digit}"))
        .replace("HOSTS", &format!("HOSTS{digit}"))
}

#[test]
fn rules_in_the_form_of_save_come_back_letter_by_letter() {
    for variant in usable_variants() {
        in_namespace_with_sets(|| {
            for (family, (table, forms)) in FAMILIES.into_iter().flat_map(|f| {
                [
                    (f, (Table::Nat, NAT_RULES)),
                    (f, (Table::Filter, FILTER_RULES)),
                ]
            }) {
                let written: Vec<String> = forms
                    .iter()
                    .map(|rule| with_set_names(rule, family))
                    .collect();
                let listed = restore_and_list(&mut open(variant), family, table, &written);
                assert_eq!(listed, written, "{variant} {family:?}");
                assert!(written.iter().all(|rule| canonical(rule) == *rule));
            }
        });
    }
}

#[test]
fn rules_that_save_spells_otherwise_are_equal_in_canonical_form() {
    for variant in usable_variants() {
        in_namespace_with_sets(|| {
            for family in FAMILIES {
                let written: Vec<String> = RESPELLED
                    .iter()
                    .map(|rule| with_set_names(rule, family))
                    .collect();
                let listed = restore_and_list(&mut open(variant), family, Table::Nat, &written);
                assert_eq!(listed.len(), written.len());
                for (written, listed) in written.iter().zip(&listed) {
                    assert_ne!(written, listed, "{variant}: belongs into the other table");
                    assert_eq!(
                        canonical(written),
                        canonical(listed),
                        "{variant}: of {written}"
                    );
                }
            }
        });
    }
}

#[test]
fn every_probability_of_an_endpoint_list_comes_back() {
    for variant in usable_variants() {
        in_new_namespace(|| {
            let written: Vec<String> = (1..=1000_u32)
                .map(|n| {
                    format!(
                        "-m statistic --mode random --probability {:.11} -j B",
                        1.0 / f64::from(n)
                    )
                })
                .collect();
            let listed = restore_and_list(&mut open(variant), Family::V4, Table::Nat, &written);
            let written: Vec<String> = written.iter().map(|r| canonical(r).into_owned()).collect();
            assert_eq!(listed, written, "{variant}");
        });
    }
}
