//! What has to go from one table of iptables: chains, and the jumps to them. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sluice_kernel::iptables::{SavedTable, Table};

use super::names::{self, MARK_MASQUERADE, POSTROUTING};

const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// What goes from one table, and what stays because somebody else uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Removal {
    /// Chains that go.
    pub(super) chains: Vec<String>,
    /// Jumps from built-in chains to them, as `CHAIN RULE`.
    pub(super) jumps: Vec<String>,
    /// Chains that stay, and why.
    pub(super) kept: Vec<String>,
}

/// Decides for one table.
pub(super) fn removal(saved: &SavedTable) -> Removal {
    let kept = kept(saved);
    let goes = |name: &str| names::is_chain(name) && !kept.iter().any(|(chain, _)| chain == name);
    let mut removal = Removal::default();
    for chain in &saved.chains {
        if goes(&chain.name) {
            removal.chains.push(chain.name.clone());
        }
        if BUILT_IN.contains(&chain.name.as_str()) {
            let jumps = chain
                .rules
                .iter()
                .filter(|rule| target(rule).is_some_and(goes));
            removal
                .jumps
                .extend(jumps.map(|rule| format!("{} {rule}", chain.name)));
        }
    }
    removal.kept = kept.into_iter().map(|(_, why)| why).collect();
    removal
}

/// Chains of kube-proxy that chains of others lead to, and what these need.
fn kept(saved: &SavedTable) -> BTreeSet<(String, String)> {
    let mut kept = BTreeSet::new();
    let foreign = saved
        .chains
        .iter()
        .filter(|chain| !names::is_chain(&chain.name) && !BUILT_IN.contains(&chain.name.as_str()));
    let mut open = Vec::new();
    for chain in foreign {
        for target in chain.rules.iter().filter_map(|rule| target(rule)) {
            if names::is_chain(target) {
                open.push((
                    target.to_owned(),
                    format!("{target}, which {} uses", chain.name),
                ));
            }
        }
    }
    while let Some((name, why)) = open.pop() {
        if kept
            .iter()
            .any(|(chain, _): &(String, String)| *chain == name)
        {
            continue;
        }
        let rules = saved.chain(&name).map_or(&[][..], |chain| &chain.rules);
        let needs = rules.iter().filter_map(|rule| target(rule));
        for needed in needs.chain((name == MARK_MASQUERADE).then_some(POSTROUTING)) {
            if names::is_chain(needed) {
                open.push((needed.to_owned(), format!("{needed}, which {name} needs")));
            }
        }
        kept.insert((name, why));
    }
    kept
}

/// Whether built-in chains lead to rules of ours.
pub(super) fn sluice_serves(saved: &SavedTable) -> bool {
    let built_in = saved
        .chains
        .iter()
        .filter(|chain| BUILT_IN.contains(&chain.name.as_str()));
    built_in
        .flat_map(|chain| &chain.rules)
        .filter_map(|rule| target(rule))
        .any(|target| target.starts_with("SLUICE-"))
}

/// The chain that a rule leads to. A jump to a chain has no options, so it comes last.
fn target(rule: &str) -> Option<&str> {
    let (rest, last) = rule.rsplit_once(' ')?;
    let is_jump = matches!(rest.rsplit(' ').next(), Some("-j" | "-g"));
    is_jump.then_some(last)
}

impl Removal {
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.is_empty()
    }

    /// For `iptables-restore --noflush`: chains are emptied before any of them is deleted, so their order does not matter.
    pub(super) fn script(&self, table: Table) -> String {
        let mut text = format!("*{table}\n");
        // Writing to a string does not fail.
        for chain in &self.chains {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        for jump in &self.jumps {
            let _ = writeln!(text, "-D {jump}");
        }
        for chain in &self.chains {
            let _ = writeln!(text, "-X {chain}");
        }
        text.push_str("COMMIT\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use sluice_kernel::iptables::parse_listing;

    use super::*;

    fn saved(text: &str) -> SavedTable {
        let text = format!("*nat\n{text}COMMIT\n");
        parse_listing(&text, Table::Nat, &|_| true).unwrap()
    }

    const NODE: &str = "\
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:SLUICE-MARK - [0:0]
-A PREROUTING -j SLUICE-MARK
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -m comment --comment \"see -j KUBE-SERVICES\"
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-NPX46M4PTMTKRN6Y
";

    #[test]
    fn its_chains_and_the_jumps_to_them_go_and_nothing_else() {
        let removal = removal(&saved(NODE));
        assert_eq!(
            removal.script(Table::Nat),
            "*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-D POSTROUTING -j KUBE-POSTROUTING
-X KUBE-MARK-MASQ
-X KUBE-POSTROUTING
-X KUBE-SERVICES
-X KUBE-SVC-NPX46M4PTMTKRN6Y
COMMIT
"
        );
        assert_eq!(removal.kept, [""; 0]);
        assert!(sluice_serves(&saved(NODE)));
    }

    #[test]
    fn a_chain_that_somebody_else_uses_stays_with_what_it_needs() {
        let portmap = ":CNI-HOSTPORT-SETMARK - [0:0]\n-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ\n";
        let removal = removal(&saved(&format!("{NODE}{portmap}")));
        assert_eq!(
            removal.chains,
            ["KUBE-SERVICES", "KUBE-SVC-NPX46M4PTMTKRN6Y"]
        );
        assert_eq!(removal.jumps.len(), 1, "{removal:?}");
        assert_eq!(
            removal.kept,
            [
                "KUBE-MARK-MASQ, which CNI-HOSTPORT-SETMARK uses",
                "KUBE-POSTROUTING, which KUBE-MARK-MASQ needs"
            ]
        );
    }

    #[test]
    fn a_table_without_anything_of_kube_proxy_has_nothing_to_remove() {
        let table = saved(":PREROUTING ACCEPT [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n");
        assert!(removal(&table).is_empty());
        assert!(!sluice_serves(&table));
    }
}
