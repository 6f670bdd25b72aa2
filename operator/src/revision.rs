//! Revisions: what a policy says to its nodes, under a name that is the same for the same.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use sluice_crds::v1alpha1::{
    ActiveMode, AutoMode, Mode, ModeRule, ResolvedSettings, ServiceProxyPolicySpec,
};

/// Letters and digits of the hash in a name.
const HASH: usize = 10;
/// A name is at most so long.
const LONGEST: usize = 253;

/// What of a policy reaches nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Which data plane.
    pub mode: Mode,
    /// What `Auto` goes by.
    pub auto: AutoMode,
    /// Everything else.
    pub settings: ResolvedSettings,
}

/// A revision of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub name: Arc<str>,
    /// The policy.
    pub policy: Arc<str>,
    /// `metadata.generation` of the policy when it first said so.
    pub generation: i64,
    /// What it says.
    pub content: Content,
}

impl Content {
    /// Of a policy.
    pub fn of(spec: &ServiceProxyPolicySpec) -> Self {
        Self {
            mode: spec.mode,
            auto: spec.auto,
            settings: ResolvedSettings::from(spec),
        }
    }

    /// The mode of a node that has `current` now. `Auto` takes IPVS only where the node is known to run it; who asks for IPVS gets it, and the
    /// node says whether it can.
    pub fn mode_for(
        &self,
        services: usize,
        current: Option<ActiveMode>,
        can_run_ipvs: Option<bool>,
    ) -> ActiveMode {
        let rule = ModeRule {
            mode: self.mode,
            auto: self.auto,
            rules_out_ipvs: self.settings.node_ports.localhost,
        };
        let can = self.mode != Mode::Auto || can_run_ipvs == Some(true);
        rule.mode_for(services, current, can)
    }
}

impl Revision {
    /// Of a policy's content.
    pub fn new(policy: &Arc<str>, generation: i64, content: Content) -> Self {
        let mut hasher = SipHasher13::new();
        // Fields come in the order of the type.
        serde_json::to_vec(&content)
            .unwrap_or_default()
            .hash(&mut hasher);
        let prefix = policy.get(..LONGEST - HASH - 1).unwrap_or(policy);
        Self {
            name: Arc::from(format!("{prefix}-{}", word(hasher.finish()))),
            policy: Arc::clone(policy),
            generation,
            content,
        }
    }
}

/// A number as lower-case letters and digits that make no words.
fn word(mut number: u64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let base = ALPHABET.len() as u64;
    let mut letters = String::with_capacity(HASH);
    for _ in 0..HASH {
        let index = usize::try_from(number % base).unwrap_or_default();
        letters.push(char::from(ALPHABET[index]));
        number /= base;
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_name_and_another_another() {
        let policy: Arc<str> = Arc::from("edge");
        let mut spec = ServiceProxyPolicySpec::default();
        let revision =
            |spec: &_, generation| Revision::new(&policy, generation, Content::of(spec)).name;
        let first = revision(&spec, 1);
        assert!(first.starts_with("edge-") && first.len() == 15, "{first}");
        spec.rollout.paused = true;
        spec.priority = 7;
        assert_eq!(
            revision(&spec, 2),
            first,
            "what reaches no node makes no revision"
        );
        spec.source_nat.masquerade_all = true;
        assert_ne!(revision(&spec, 3), first);
    }

    #[test]
    fn a_long_name_of_a_policy_still_gives_a_name() {
        let policy: Arc<str> = Arc::from("p".repeat(253));
        let name = Revision::new(&policy, 1, Content::of(&ServiceProxyPolicySpec::default())).name;
        assert_eq!(name.len(), 253);
    }

    #[test]
    fn auto_waits_for_the_word_of_the_node_and_a_wish_for_ipvs_does_not() {
        let mut content = Content::of(&ServiceProxyPolicySpec::default());
        assert_eq!(content.mode_for(5000, None, None), ActiveMode::IPTables);
        assert_eq!(content.mode_for(5000, None, Some(true)), ActiveMode::IPVS);
        assert_eq!(
            content.mode_for(900, Some(ActiveMode::IPVS), Some(true)),
            ActiveMode::IPVS
        );
        content.mode = Mode::IPVS;
        assert_eq!(content.mode_for(1, None, Some(false)), ActiveMode::IPVS);
    }
}
