//! The address sets that tell pods of a class, which the agent fills for pods that are attached. Here the suite does.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_agent::glue::pod_classes::sets_of;
use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, IpsetNetlink, SetHeader, SetSpec,
};
use sluice_service_plan::model::Family;

use super::row::Scene;
use crate::lab::{LabError, Namespace};

/// Sets, and addresses that have to be in them.
pub(super) type Members = BTreeSet<(String, IpAddr)>;

/// Of the scene's pods.
pub(super) fn members(scene: &Scene) -> Members {
    let mut members = Members::new();
    for (pod, class) in &scene.pods {
        for family in Family::ALL {
            let sets = sets_of(&scene.settings, class, family);
            members.extend(sets.into_iter().map(|set| (set, pod.ip(family))));
        }
    }
    members
}

/// Brings the node's sets from these members to those. Some of the former sets may be gone.
pub(super) fn follow(
    node: &Namespace,
    before: &Members,
    now: &Members,
) -> Result<Result<(), AddressSetError>, LabError> {
    if before == now {
        return Ok(Ok(()));
    }
    let gone: Members = before.difference(now).cloned().collect();
    let new: Members = now.difference(before).cloned().collect();
    node.run(move || {
        let mut sets = IpsetNetlink::open()?;
        for (name, ip) in gone {
            if let Some(set) = find(&mut sets, &name)? {
                sets.delete(&set, &[Entry::Ip(ip)])?;
            }
        }
        for (name, ip) in new {
            let Some(set) = find(&mut sets, &name)? else {
                return Err(AddressSetError::NotFound { name });
            };
            sets.add(&set, &[Entry::Ip(ip)])?;
        }
        Ok(())
    })
}

fn find(sets: &mut IpsetNetlink, name: &str) -> Result<Option<SetSpec>, AddressSetError> {
    let named = |header: SetHeader| (header.spec.name == name).then_some(header.spec);
    Ok(sets.headers(name)?.into_iter().find_map(named))
}
