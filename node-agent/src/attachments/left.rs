//! What is still in force of an agent that ran before.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
use sluice_kernel::address_set::{AddressSetError, AddressSets};

use super::terms::Terms;
use super::upkeep::PREFIX;
use crate::settings::{NodeNetworks, NodeSettings};

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
    let has_all = terms
        .sets
        .iter()
        .all(|set| there.contains(set.name.as_str()));
    Ok(has_all.then_some(terms))
}

#[cfg(test)]
mod tests {
    use sluice_kernel::address_set::{Family, MemorySets, SetKind, SetSpec};

    use super::*;

    #[test]
    fn the_last_terms_count_while_the_kernel_has_all_of_their_sets() {
        let mut policy = ServiceProxyPolicySpec::default();
        let classes = r#"[{"name": "out", "action": "Masquerade", "egress": true}]"#;
        policy.source_nat.pod_classes = serde_json::from_str(classes).unwrap();
        let mut sets = MemorySets::new();
        let terms = NodeSettings::resolve(&policy, NodeNetworks::default()).attachments;
        assert!(terms.sets.len() > 4, "{terms:?}");
        for set in &terms.sets {
            assert_eq!(left_in_force(&policy, &mut sets).unwrap(), None);
            let family = match set.family {
                sluice_attachment::Family::V4 => Family::V4,
                sluice_attachment::Family::V6 => Family::V6,
            };
            let spec = SetSpec {
                name: set.name.clone(),
                kind: SetKind::HashIp,
                family,
                max_entries: 100,
                expected_entries: 16,
                timeout_seconds: None,
                marks: false,
            };
            sets.create(&spec).unwrap();
        }
        assert_eq!(left_in_force(&policy, &mut sets).unwrap(), Some(terms));
    }
}
