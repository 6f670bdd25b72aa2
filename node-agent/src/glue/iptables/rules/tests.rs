#![allow(clippy::unwrap_used)]

use super::*;

/// The IPv4 rules of a chain of a node where IPVS has this part.
fn rules(ipvs: IpvsPart, table: Table, chain: &str) -> Vec<String> {
    rules_of(Family::V4, ipvs, table, chain)
}

fn rules_of(family: Family, ipvs: IpvsPart, table: Table, chain: &str) -> Vec<String> {
    let node = NodeFacts {
        health_port: Some(10256),
        ..NodeFacts::default()
    };
    let inputs = Inputs {
        family,
        node: &node,
        settings: &Settings::default(),
        ipvs,
    };
    let (chains, _) = of_table(table, &inputs);
    let chain = chains.iter().find(|one| one.name() == chain).unwrap();
    chain.text().lines().map(str::to_owned).collect()
}

fn position(rules: &[String], text: &str) -> usize {
    let found = rules.iter().position(|rule| rule.contains(text));
    found.unwrap_or_else(|| panic!("no rule with {text:?}: {rules:#?}"))
}

#[test]
fn ports_of_health_are_open_only_after_frontends_have_refused() {
    for part in [IpvsPart::None, IpvsPart::Old, IpvsPart::New] {
        let input = rules(part, Table::Filter, INPUT);
        let place = |text| position(&input, text);
        let refused = place("-j SLUICE-REFUSE");
        let closed = place("EXTERNAL-IP dst -m set ! --match-set SLUICE-4-OWN-IP");
        for health in ["SLUICE-4-HEALTH-PORT dst -j ACCEPT", "--dport 10256"].map(place) {
            assert!(refused < health && health < closed, "{part:?}: {input:#?}");
        }
    }
}

#[test]
fn excluded_destinations_are_left_alone_where_ipvs_takes_new_connections() {
    const LEFT: &str = "-m set --match-set SLUICE-4-EXCLUDED dst -j RETURN";
    let chains = [
        (Table::Nat, IPVS),
        (Table::Filter, REFUSE),
        (Table::Mangle, INSIDE_NODE),
    ];
    for (table, chain) in chains {
        let chain = rules(IpvsPart::New, table, chain);
        assert_eq!(position(&chain, LEFT), 0, "{chain:#?}");
    }
    let input = rules(IpvsPart::New, Table::Filter, INPUT);
    let left = position(&input, LEFT);
    assert!(position(&input, "HEALTH-PORT") < left, "{input:#?}");
    for refusal in [
        "NODEPORT-DROP",
        "NODEPORT-REJECT",
        "V-ADDRESSES dst -g",
        "EXTERNAL-IP",
    ] {
        assert!(left < position(&input, refusal), "{input:#?}");
    }
    for part in [IpvsPart::None, IpvsPart::Old] {
        for chain in [INPUT, REFUSE] {
            let chain = rules(part, Table::Filter, chain);
            assert!(chain.iter().all(|rule| !rule.contains(LEFT)), "{chain:#?}");
        }
    }
}

#[test]
fn around_ipvs_no_later_rule_translates_what_a_frontend_refuses() {
    let chain = rules(IpvsPart::New, Table::Nat, IPVS);
    let last_to_ipvs = position(&chain, "V-INSIDE");
    for set in ["REJECT", "DROP"] {
        let rule = position(&chain, &format!("SLUICE-4-{set} dst,dst -j ACCEPT"));
        assert!(last_to_ipvs < rule, "{chain:#?}");
    }
}

#[test]
fn around_ipvs_node_ports_of_link_local_addresses_are_nobodys() {
    let chains = [
        (Table::Filter, INPUT),
        (Table::Mangle, INSIDE_NODE),
        (Table::Nat, IPVS_REFUSE),
    ];
    for (table, chain) in chains {
        for (family, part) in [
            (Family::V6, IpvsPart::New),
            (Family::V6, IpvsPart::Old),
            (Family::V4, IpvsPart::New),
        ] {
            if table == Table::Mangle && part == IpvsPart::Old {
                continue;
            }
            let rules = rules_of(family, part, table, chain);
            let refusal = &rules[position(&rules, "-NODEPORT-")];
            let spares = refusal.contains("! -d fe80::/10 -m set --match-set SLUICE-6-OWN-IP dst");
            let is_served_by_rules = part == IpvsPart::Old || family == Family::V4;
            assert_eq!(spares, !is_served_by_rules, "{refusal}");
        }
    }
}
