//! Frontends and their endpoints, read back from the rules that translate. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use serde::Serialize;
use sluice_kernel::iptables::SavedTable;

use super::frontend::Frontend;
use crate::cli::nat_rule::Rule;

/// The chains in which frontends are looked up, and whether by address or by port alone.
const ROOTS: [(&str, bool); 2] = [("SLUICE-FRONTENDS", true), ("SLUICE-NODEPORTS", false)];
/// Chains that tell clients inside this node from others start so.
const POLICY: &str = "SLUICE-X-";
/// Chains that remember a client start so.
const STICKY: &str = "SLUICE-E-";

/// Whom an endpoint serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Clients {
    /// Everybody.
    All,
    /// This node and its pods.
    Inside,
    /// Everybody else.
    Outside,
}

/// Where a frontend leads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Balanced {
    /// A client stays with its endpoint.
    pub(super) affinity: bool,
    /// The share of new connections of each endpoint, 0 to 1.
    pub(super) endpoints: BTreeMap<(Clients, SocketAddr), f64>,
}

/// All frontends of a nat table.
pub(super) fn frontends(nat: &SavedTable) -> BTreeMap<Frontend, Balanced> {
    let chains = nat.chains.iter();
    let mut walk = Walk {
        chains: chains
            .map(|chain| (chain.name.as_str(), chain.rules.as_slice()))
            .collect(),
        found: BTreeMap::new(),
    };
    for (root, by_address) in ROOTS {
        let way = Way {
            by_address,
            port: None,
            frontend: None,
            clients: Clients::All,
            share: 1.0,
        };
        walk.chain(root, &way, 0);
    }
    walk.found
}

/// How far a packet came.
#[derive(Debug, Clone)]
struct Way {
    by_address: bool,
    /// The port of all that comes here, where the tree told it.
    port: Option<u16>,
    frontend: Option<Frontend>,
    clients: Clients,
    share: f64,
}

impl Way {
    /// The frontend that a rule on this way is for, if it is for one only.
    fn frontend(&self, rule: &Rule<'_>) -> Option<Frontend> {
        if self.frontend.is_some() {
            return self.frontend;
        }
        let address = match rule.destination {
            Some(net) if net.prefix_len() == net.max_prefix_len() => Some(net.addr()),
            Some(_) => return None,
            None => None,
        };
        if self.by_address != address.is_some() {
            return None;
        }
        Some(Frontend {
            address,
            port: rule.port().or(self.port)?,
            protocol: Frontend::protocol(rule.protocol?)?,
        })
    }
}

struct Walk<'a> {
    chains: HashMap<&'a str, &'a [String]>,
    found: BTreeMap<Frontend, Balanced>,
}

/// More chains than any way has; against rings that somebody else makes.
const DEEPEST: usize = 64;

impl<'a> Walk<'a> {
    fn chain(&mut self, name: &'a str, way: &Way, depth: usize) {
        let Some(rules) = self.chains.get(name).copied() else {
            return;
        };
        if depth > DEEPEST {
            return;
        }
        let tells_clients = name.starts_with(POLICY);
        // What is left of the packets at each rule, by what the rules before match.
        let mut rest: HashMap<(Frontend, Clients), f64> = HashMap::new();
        for rule in rules {
            let rule = Rule::read(rule);
            let frontend = way.frontend(&rule);
            let clients = match (tells_clients, rule.of_inside) {
                (true, true) => Clients::Inside,
                (true, false) => Clients::Outside,
                (false, _) => way.clients,
            };
            if rule.leads_to.is_none() && rule.translates_to.is_none() {
                continue;
            }
            if rule.of_known_clients {
                if let Some(frontend) = frontend {
                    self.found.entry(frontend).or_default().affinity = true;
                }
                continue;
            }
            let taken = match frontend {
                Some(frontend) => {
                    let left = rest.entry((frontend, clients)).or_insert(1.0);
                    let taken = *left * rule.probability;
                    *left -= taken;
                    taken
                }
                // The tree: each rule is for other packets.
                None => 1.0,
            };
            let next = Way {
                by_address: way.by_address,
                port: rule.port().or(way.port),
                frontend,
                clients,
                share: way.share * taken,
            };
            match (rule.translates_to, rule.leads_to, frontend) {
                (Some(endpoint), _, Some(frontend)) => self.endpoint(frontend, &next, endpoint),
                (None, Some(to), _) => {
                    self.chain(to, &next, depth + 1);
                }
                _ => {}
            }
        }
        if name.starts_with(STICKY)
            && let Some(frontend) = way.frontend
        {
            self.found.entry(frontend).or_default().affinity = true;
        }
    }

    /// The first rule for a client counts: the node and its pods meet the same endpoints by two of them.
    fn endpoint(&mut self, frontend: Frontend, way: &Way, endpoint: SocketAddr) {
        let balanced = self.found.entry(frontend).or_default();
        balanced
            .endpoints
            .entry((way.clients, endpoint))
            .or_insert(way.share);
    }
}

#[cfg(test)]
mod tests {
    use sluice_kernel::iptables::SavedChain;

    use super::*;

    impl Balanced {
        /// Of these clients, or of all of them.
        fn of(&self, clients: Clients) -> impl Iterator<Item = (SocketAddr, f64)> {
            let endpoints = self.endpoints.iter();
            endpoints
                .filter(move |((whom, _), _)| *whom == clients)
                .map(|((_, endpoint), share)| (*endpoint, *share))
        }
    }

    fn table(chains: &[(&str, &[&str])]) -> SavedTable {
        let chains = chains.iter().map(|(name, rules)| SavedChain {
            name: (*name).to_owned(),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        });
        SavedTable {
            chains: chains.collect(),
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn percent(share: f64) -> i64 {
        format!("{:.0}", share * 100.0).parse().unwrap()
    }

    #[test]
    fn shares_follow_the_rules_through_the_tree() {
        let nat = table(&[
            (
                "SLUICE-FRONTENDS",
                &[
                    "-j SLUICE-MARK",
                    "-d 10.95.0.0/16 -g SLUICE-T-10.95.0.0-16",
                    "-d 10.96.0.0/16 -g SLUICE-T-10.96.0.0-16",
                ],
            ),
            (
                "SLUICE-T-10.96.0.0-16",
                &[
                    "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.25000000000 -j DNAT --to-destination 10.1.0.5:80",
                    "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.6:80",
                    "-d 10.96.0.2/32 -p udp -m udp --dport 53 -g SLUICE-P-X",
                ],
            ),
            (
                "SLUICE-P-X",
                &[
                    "-m set --match-set SLUICE-4-A-X src -g SLUICE-E-X",
                    "-g SLUICE-E-X",
                ],
            ),
            (
                "SLUICE-E-X",
                &[
                    "-j SET --add-set SLUICE-4-A-X src --exist",
                    "-p udp -j DNAT --to-destination 10.1.0.7:53",
                ],
            ),
        ]);
        let found = frontends(&nat);
        let web = &found[&"10.96.0.1:80/tcp".parse().unwrap()];
        let shares: Vec<_> = web.of(Clients::All).collect();
        assert_eq!(shares.len(), 2);
        assert_eq!((shares[0].0, percent(shares[0].1)), (at("10.1.0.5:80"), 25));
        assert_eq!(percent(shares[1].1), 75);
        let dns = &found[&"10.96.0.2:53/udp".parse().unwrap()];
        assert!(dns.affinity && !web.affinity);
        let shares: Vec<_> = dns.of(Clients::All).collect();
        assert_eq!(
            (shares[0].0, percent(shares[0].1)),
            (at("10.1.0.7:53"), 100)
        );
    }

    #[test]
    fn clients_inside_and_outside_are_told_apart() {
        let nat = table(&[
            (
                "SLUICE-NODEPORTS",
                &["-p tcp -m tcp --dport 30080 -g SLUICE-X-Y"],
            ),
            (
                "SLUICE-X-Y",
                &[
                    "-p tcp -m set --match-set SLUICE-4-PODS src -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.1.0.5:80",
                    "-p tcp -m set --match-set SLUICE-4-PODS src -j DNAT --to-destination 10.1.1.6:80",
                    "-p tcp -m addrtype --src-type LOCAL -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.1.0.5:80",
                    "-p tcp -m addrtype --src-type LOCAL -j DNAT --to-destination 10.1.1.6:80",
                    "-p tcp -j DNAT --to-destination 10.1.0.5:80",
                ],
            ),
        ]);
        let found = frontends(&nat);
        let (frontend, balanced) = found.first_key_value().unwrap();
        assert_eq!(frontend.to_string(), "node port 30080/tcp");
        let of = |clients| -> Vec<i64> { balanced.of(clients).map(|(_, s)| percent(s)).collect() };
        assert_eq!(of(Clients::Inside), [50, 50]);
        assert_eq!(of(Clients::Outside), [100]);
        assert!(of(Clients::All).is_empty());
    }

    #[test]
    fn a_port_that_the_tree_told_counts_below() {
        let nat = table(&[
            (
                "SLUICE-FRONTENDS",
                &["-p tcp -m tcp --dport 80 -g SLUICE-T-tcp-80"],
            ),
            (
                "SLUICE-T-tcp-80",
                &[
                    "-d 10.96.0.1/32 -p tcp -j DNAT --to-destination 10.1.0.5:8080",
                    "-d 10.96.0.2/32 -p tcp -g SLUICE-P-X",
                ],
            ),
            (
                "SLUICE-P-X",
                &["-p tcp -j DNAT --to-destination 10.1.0.6:8080"],
            ),
            (
                "SLUICE-NODEPORTS",
                &["-p tcp -m tcp --dport 30080 -g SLUICE-N-tcp-30080"],
            ),
            (
                "SLUICE-N-tcp-30080",
                &["-p tcp -j DNAT --to-destination 10.1.0.7:8080"],
            ),
        ]);
        let found = frontends(&nat);
        let names: Vec<String> = found.keys().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "node port 30080/tcp",
                "10.96.0.1:80/tcp",
                "10.96.0.2:80/tcp"
            ]
        );
        assert!(found.values().all(|balanced| balanced.endpoints.len() == 1));
    }

    #[test]
    fn a_ring_of_chains_ends() {
        let nat = table(&[("SLUICE-FRONTENDS", &["-g SLUICE-FRONTENDS"])]);
        assert!(frontends(&nat).is_empty());
    }
}
