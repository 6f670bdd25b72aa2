//! What is still in force of an agent that ran before.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_kernel::address_set::{AddressSetError, AddressSets, Family};

use super::terms::Terms;
use crate::family::plan_family;
use crate::glue::membership::prefix;
use crate::settings::{NodeNetworks, NodeSettings};

/// What names of our sets start with.
const PREFIX: &str = "SLUICE-";

/// The terms of the last policy, as long as the kernel has all of their sets: rules by them are kept until they can be programmed anew, and so
/// are the sets' members. Nothing after a reboot, when a pod would be given a class that no rule knows.
pub fn left_in_force(
    policy: &ServiceProxyPolicySpec,
    sets: &mut dyn AddressSets,
) -> Result<Option<Arc<Terms>>, AddressSetError> {
    // No set is named after the node's networks.
    let terms = NodeSettings::resolve(policy, NodeNetworks::default()).attachments;
    let headers = sets.headers(PREFIX)?;
    let there: BTreeSet<&str> = headers.iter().map(|set| set.spec.name.as_str()).collect();
    // IPv6 may not have been served; IPv4 is on every node.
    let serves = |family: &Family| {
        let prefix = prefix(plan_family(*family));
        *family == Family::V4 || there.iter().any(|name| name.starts_with(prefix))
    };
    let families: Vec<_> = [Family::V4, Family::V6]
        .into_iter()
        .filter(serves)
        .collect();
    let terms = terms.of_families(&families);
    let has_all = terms
        .sets
        .iter()
        .all(|set| there.contains(set.name.as_str()));
    Ok(has_all.then(|| Arc::new(terms)))
}

#[cfg(test)]
mod tests {
    use sluice_kernel::address_set::{MemorySets, SetKind, SetSpec};

    use super::super::terms::kernel_family;
    use super::*;

    const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// Makes the sets of the last terms, one after the other.
    fn left_with_sets_of(families: &[Family]) {
        let mut policy = ServiceProxyPolicySpec::default();
        let classes = r#"[{"name": "out", "action": "Masquerade", "egress": true}]"#;
        policy.source_nat.pod_classes = serde_json::from_str(classes).unwrap();
        let mut sets = MemorySets::new();
        let terms = NodeSettings::resolve(&policy, NodeNetworks::default()).attachments;
        let terms = terms.of_families(families);
        assert!(terms.sets.len() > 2 * families.len(), "{terms:?}");
        // The first of IPv6 tells that it was served.
        for set in terms.sets.iter().rev() {
            assert_eq!(left_in_force(&policy, &mut sets).unwrap(), None);
            let spec = SetSpec {
                name: set.name.clone(),
                kind: SetKind::HashIp,
                family: kernel_family(set.family),
                max_entries: 100,
                expected_entries: 16,
                timeout_seconds: None,
                marks: false,
            };
            sets.create(&spec).unwrap();
        }
        let left = left_in_force(&policy, &mut sets).unwrap();
        assert_eq!(left.as_deref(), Some(&terms));
    }

    #[test]
    fn the_last_terms_count_while_the_kernel_has_all_of_their_sets() {
        left_with_sets_of(&BOTH);
    }

    #[test]
    fn sets_of_a_family_that_was_not_served_are_not_asked_for() {
        left_with_sets_of(&BOTH[..1]);
    }
}
