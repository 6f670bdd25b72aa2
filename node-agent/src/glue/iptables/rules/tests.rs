#![allow(clippy::unwrap_used)]

use super::*;

/// The rules of a chain of a node where IPVS has this part.
fn rules(ipvs: IpvsPart, table: Table, chain: &str) -> Vec<String> {
    let node = NodeFacts {
        health_port: Some(10256),
        ..NodeFacts::default()
    };
    let inputs = Inputs {
        family: Family::V4,
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
        let health = ["SLUICE-4-HEALTH-PORT dst -j ACCEPT", "--dport 10256"];
        for health in health.map(|text| position(&input, text)) {
            for refusal in ["-j SLUICE-REFUSE", "NODEPORT-DROP", "NODEPORT-REJECT"] {
                assert!(position(&input, refusal) < health, "{part:?}: {input:#?}");
            }
            let closed = position(
                &input,
                "EXTERNAL-IP dst -m set ! --match-set SLUICE-4-OWN-IP",
            );
            assert!(health < closed, "{part:?}: {input:#?}");
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
