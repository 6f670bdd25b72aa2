//! Firewalls of others, in tables of `nf_tables` of their own, that would drop what IPVS serves.
//!
//! A packet for a virtual server is a new one that is delivered to the node: it is not translated yet, as one for iptables rules is. That our
//! rules accept it counts in their table only: every other base chain at the hook decides for itself.

use std::time::{Duration, Instant};

use sluice_kernel::base_chains::{BaseChain, BaseChainsError, Hook, base_chains, ends_refusing};
use sluice_kernel::ruleset_events::TableFamily;

/// IPVS takes a packet at this priority of the hook (`NF_IP_PRI_NAT_SRC - 1`): what comes later does not see it.
const IPVS_PRIORITY: i32 = 99;
/// Of iptables: in `filter` our rules come first, and the others are not for this.
const CHAIN_OF_IPTABLES: &str = "INPUT";
const TABLES_OF_IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// Each of them, in a sentence.
pub(crate) fn in_the_way_of_ipvs() -> Vec<String> {
    find().unwrap_or_else(|error| {
        tracing::debug!(%error, "whether a firewall drops what IPVS serves is not known");
        Vec::new()
    })
}

/// A look lists the chains of all programs, and syncs are many: it is good for so long.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// What the last look found.
#[derive(Debug, Default)]
pub(crate) struct KnownFirewalls(Option<(Instant, Vec<String>)>);

impl KnownFirewalls {
    /// Each of them, in a sentence, by a look of just now or a little earlier.
    pub(crate) fn in_the_way_of_ipvs(&mut self) -> Vec<String> {
        self.at(Instant::now(), in_the_way_of_ipvs)
    }

    fn at(&mut self, now: Instant, look: impl FnOnce() -> Vec<String>) -> Vec<String> {
        let known = self.0.take();
        let known = known.filter(|(since, _)| now.saturating_duration_since(*since) < KNOWN_FOR);
        let (_, found) = self.0.insert(known.unwrap_or_else(|| (now, look())));
        found.clone()
    }
}

fn find() -> Result<Vec<String>, BaseChainsError> {
    let mut found = Vec::new();
    for chain in base_chains()?.iter().filter(|chain| decides(chain)) {
        if chain.drops || ends_refusing(chain)? {
            found.push(words(chain));
        }
    }
    Ok(found)
}

/// Of another program, at IPVS' hook and before it.
fn decides(chain: &BaseChain) -> bool {
    let of_iptables = chain.family != TableFamily::INET
        && chain.name == CHAIN_OF_IPTABLES
        && TABLES_OF_IPTABLES.contains(&chain.table.as_str());
    let sees_ip = [TableFamily::IPV4, TableFamily::IPV6, TableFamily::INET].contains(&chain.family);
    sees_ip && !of_iptables && chain.hook == Hook::INPUT && chain.priority < IPVS_PRIORITY
}

fn words(chain: &BaseChain) -> String {
    let family = match chain.family {
        TableFamily::IPV4 => "ip",
        TableFamily::IPV6 => "ip6",
        _ => "inet",
    };
    format!(
        "chain {} of the nftables table {family} {} refuses what it does not accept, and in mode IPVS traffic to Services passes it: allow Service \
         addresses there, or use mode IPTables",
        chain.name, chain.table
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: TableFamily, table: &str, name: &str) -> BaseChain {
        BaseChain {
            family,
            table: table.to_owned(),
            name: name.to_owned(),
            hook: Hook::INPUT,
            priority: 0,
            drops: true,
        }
    }

    #[test]
    fn a_look_is_good_for_some_seconds() {
        let mut known = KnownFirewalls::default();
        let start = Instant::now();
        let mut found = |seconds, there: &str| {
            let look = || vec![there.to_owned()];
            known
                .at(start + Duration::from_secs(seconds), look)
                .join("")
        };
        assert_eq!(found(0, "first"), "first");
        assert_eq!(found(9, "second"), "first");
        assert_eq!(found(10, "third"), "third");
    }

    #[test]
    fn a_chain_at_the_hook_of_ipvs_and_before_it_decides_unless_it_is_of_iptables() {
        for (family, table, name, is_in_the_way) in [
            (TableFamily::INET, "filter", "INPUT", true),
            (TableFamily::INET, "firewall", "input", true),
            (TableFamily::IPV4, "firewall", "INPUT", true),
            (TableFamily::IPV4, "filter", "input", true),
            (TableFamily::IPV4, "filter", "INPUT", false),
            (TableFamily::IPV6, "mangle", "INPUT", false),
            (TableFamily(7), "bridge", "input", false),
        ] {
            let of_it = chain(family, table, name);
            assert_eq!(decides(&of_it), is_in_the_way, "{of_it:?}");
        }
        let of_firewall = || chain(TableFamily::INET, "firewall", "input");
        for harmless in [
            BaseChain {
                hook: Hook::FORWARD,
                ..of_firewall()
            },
            BaseChain {
                priority: 300,
                ..of_firewall()
            },
        ] {
            assert!(!decides(&harmless), "{harmless:?}");
        }
        let told = words(&of_firewall());
        assert!(
            told.contains("chain input of the nftables table inet firewall"),
            "{told}"
        );
    }
}
