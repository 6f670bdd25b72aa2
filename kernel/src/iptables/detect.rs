//! Which iptables variant a node uses, and which it can use.

use std::fmt;
use std::fs;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::program::{plain_variant, search_path};
use super::{Family, Iptables, IptablesError, IptablesPrograms, Table, Variant};

/// Chains that the kubelet makes in `mangle`, with the variant of the node: the first for exactly this purpose (KEP-3178).
const HINT_CHAINS: [&str; 2] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

/// What is known of one variant on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VariantEvidence {
    /// Its programs are installed and can list.
    pub works: bool,
    /// A chain of the kubelet's is there.
    pub hint: bool,
    /// Rules of it, both families.
    pub rules: usize,
}

/// What is known of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Of the legacy variant.
    pub legacy: VariantEvidence,
    /// Of the nft variant.
    pub nft: VariantEvidence,
    /// What the plain `iptables` is, if installed.
    pub plain: Option<Variant>,
}

/// Why a variant was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The kubelet's chain.
    KubeletChain,
    /// It has more rules than the other.
    MoreRules,
    /// It is the plain `iptables`.
    PlainProgram,
    /// The other does not work here.
    OnlyOne,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubeletChain => "the kubelet's chains are in it",
            Self::MoreRules => "it has more rules than the other variant",
            Self::PlainProgram => "it is what `iptables` is on this node",
            Self::OnlyOne => "the other variant does not work here",
        })
    }
}

/// Decides which variant the node uses; `None` when neither works. Kubernetes' own iptables wrappers decide in this order.
pub fn detect(evidence: &Evidence) -> Option<(Variant, Reason)> {
    let Evidence { legacy, nft, plain } = evidence;
    match (nft.works, legacy.works) {
        (false, false) => return None,
        (true, false) => return Some((Variant::Nft, Reason::OnlyOne)),
        (false, true) => return Some((Variant::Legacy, Reason::OnlyOne)),
        (true, true) => {}
    }
    Some(if nft.hint {
        (Variant::Nft, Reason::KubeletChain)
    } else if legacy.hint {
        (Variant::Legacy, Reason::KubeletChain)
    } else if legacy.rules > nft.rules {
        (Variant::Legacy, Reason::MoreRules)
    } else if nft.rules > legacy.rules {
        (Variant::Nft, Reason::MoreRules)
    } else {
        (plain.unwrap_or(Variant::Nft), Reason::PlainProgram)
    })
}

/// Looks at this network namespace. Writes nothing, and does not make the kernel set up tables that are not in use.
pub fn gather_evidence() -> Evidence {
    Evidence {
        legacy: variant_evidence(Variant::Legacy),
        nft: variant_evidence(Variant::Nft),
        plain: plain_variant(&search_path()),
    }
}

/// The variant that this node uses, and why.
pub fn detect_variant() -> Result<(Variant, Reason), IptablesError> {
    let none = || IptablesError::NotInstalled {
        program: "iptables".to_owned(),
    };
    detect(&gather_evidence()).ok_or_else(none)
}

/// Whether `variant` works for `family` on this kernel, and if not, why. `sample` is restore text with what is needed, so
/// that a missing extension shows.
///
/// Tried in a network namespace made for it, so nothing is left on the node; this needs `CAP_SYS_ADMIN`.
pub fn try_variant(variant: Variant, family: Family, sample: &str) -> Result<(), IptablesError> {
    let mut programs = IptablesPrograms::open(variant)?;
    let failed = |operation, source| IptablesError::Io {
        program: format!("iptables {variant}"),
        operation,
        source,
    };
    thread::scope(|scope| {
        // Namespaces are a thread's own, and this one ends with the thread.
        let trial = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| failed("make a network namespace to try it in", e.into()))?;
            programs.restore(family, sample)
        });
        let died = || failed("try it", std::io::Error::other("the thread ended early"));
        trial.join().unwrap_or_else(|_| Err(died()))
    })
}

fn variant_evidence(variant: Variant) -> VariantEvidence {
    let Ok(mut programs) = IptablesPrograms::open(variant) else {
        return VariantEvidence::default();
    };
    let mut found = VariantEvidence {
        works: true,
        ..VariantEvidence::default()
    };
    for family in [Family::V4, Family::V6] {
        // iptables-legacy-save would set up every table that it is asked for, so it is asked only for those in use.
        let tables = match variant {
            Variant::Legacy => legacy_tables(family),
            Variant::Nft => Table::ALL.to_vec(),
        };
        for table in tables {
            let mut rules = 0;
            let listed = programs.listing(family, Some(table), &mut |line| {
                rules += usize::from(line.starts_with("-A "));
                found.hint |= table == Table::Mangle && is_hint(line);
                Ok(())
            });
            found.rules += rules;
            found.works &= listed.is_ok() || family == Family::V6;
        }
    }
    if variant == Variant::Legacy && found.rules == 0 && !found.hint {
        found.works = try_variant(variant, Family::V4, "*filter\nCOMMIT\n").is_ok();
    }
    found
}

/// The kernel's list of `x_tables` tables that exist in this namespace.
fn legacy_tables(family: Family) -> Vec<Table> {
    let list = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    fs::read_to_string(list)
        .unwrap_or_default()
        .lines()
        .filter_map(Table::from_name)
        .collect()
}

fn is_hint(line: &str) -> bool {
    let declared = line.strip_prefix(':').and_then(|l| l.split(' ').next());
    declared.is_some_and(|name| HINT_CHAINS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(
        legacy: (bool, bool, usize),
        nft: (bool, bool, usize),
        plain: Option<Variant>,
    ) -> Evidence {
        let of = |(works, hint, rules)| VariantEvidence { works, hint, rules };
        Evidence {
            legacy: of(legacy),
            nft: of(nft),
            plain,
        }
    }

    #[test]
    fn the_variant_is_decided_by_hint_then_rules_then_plain_program() {
        use Variant::{Legacy, Nft};
        for (seen, decided) in [
            (
                evidence((true, true, 900), (true, true, 1), Some(Legacy)),
                Some((Nft, Reason::KubeletChain)),
            ),
            (
                evidence((true, true, 1), (true, false, 900), Some(Nft)),
                Some((Legacy, Reason::KubeletChain)),
            ),
            (
                evidence((true, false, 2), (true, false, 1), Some(Nft)),
                Some((Legacy, Reason::MoreRules)),
            ),
            (
                evidence((true, false, 1), (true, false, 2), Some(Legacy)),
                Some((Nft, Reason::MoreRules)),
            ),
            (
                evidence((true, false, 0), (true, false, 0), Some(Legacy)),
                Some((Legacy, Reason::PlainProgram)),
            ),
            (
                evidence((true, false, 0), (true, false, 0), None),
                Some((Nft, Reason::PlainProgram)),
            ),
            (
                evidence((true, false, 0), (false, true, 9), Some(Nft)),
                Some((Legacy, Reason::OnlyOne)),
            ),
            (
                evidence((false, false, 0), (true, false, 0), Some(Legacy)),
                Some((Nft, Reason::OnlyOne)),
            ),
            (
                evidence((false, false, 0), (false, false, 0), Some(Legacy)),
                None,
            ),
        ] {
            assert_eq!(detect(&seen), decided, "{seen:?}");
        }
    }
}
