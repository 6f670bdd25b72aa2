//! Membership in address sets, which is what puts a source-NAT class in force.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_attachment::store::{LockedStore, StoreError};
use sluice_attachment::{Family, Record, SetName};
use sluice_kernel::address_set::{self, AddressSetError, AddressSets, Entry, SetKind, SetSpec};

use crate::cni::{Code, Coded};

/// Errors of memberships.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    #[error("the pod's source-NAT class")]
    Sets(#[from] AddressSetError),
    #[error(
        "the pod's source-NAT class: set {0} is not there yet: the agent makes it with its next sync"
    )]
    NotYet(String),
    #[error("the pod's source-NAT class: {0:?} is not the name of a set")]
    NotAName(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for MembershipError {
    fn code(&self) -> Code {
        match self {
            Self::Sets(_) | Self::NotAName(_) => Code::AddressSets,
            Self::NotYet(_) => Code::TryAgainLater,
            Self::Store(error) => error.code(),
        }
    }
}

impl Coded for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Locked { .. } => Code::TryAgainLater,
            _ => Code::IoFailure,
        }
    }
}

/// Opens the kernel's sets only when there is something to change.
pub(crate) type Open<'a> = dyn FnMut() -> Result<Box<dyn AddressSets>, AddressSetError> + 'a;

/// `IPSET_MAXNAMELEN` without the terminating zero.
const MAX_NAME_BYTES: usize = 31;

/// Refuses what cannot be the name of a set, before anything is recorded of it.
pub(crate) fn check(sets: &[SetName]) -> Result<(), MembershipError> {
    let wrong = sets.iter().find(|set| !is_name(&set.name));
    wrong.map_or(Ok(()), |set| {
        let name = set.name.chars().take(64).collect();
        Err(MembershipError::NotAName(name))
    })
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A set and an address in it.
type Membership = (SetName, IpAddr);

/// Records an attachment and puts its addresses into its sets, and its sets only: an older record of this attachment, and those of others whose
/// addresses the pod has now, lose them first. Whatever moment this ends at, an address in a set has a record that says so.
pub(crate) fn join(
    store: &LockedStore<'_>,
    record: &Record,
    absent_is_error: bool,
    open: &mut Open<'_>,
) -> Result<(), MembershipError> {
    let own = store.get(&record.id)?;
    let of_own = own.iter().flat_map(|own| &own.addresses);
    let addresses = record.addresses.iter().chain(of_own).copied().collect();
    let others = store.others_holding(&addresses, &record.id)?;
    let taken = |address: &IpAddr| record.addresses.contains(address);
    let (lost, kept): (BTreeSet<_>, BTreeSet<_>) = others
        .iter()
        .flat_map(memberships)
        .partition(|(_, address)| taken(address));
    let wanted: BTreeSet<_> = memberships(record).collect();
    let stale = own.iter().flat_map(memberships).chain(lost);
    take_out(
        stale.filter(|stale| !wanted.contains(stale) && !kept.contains(stale)),
        open,
    )?;
    for mut other in others {
        if other.addresses.iter().any(taken) {
            other.addresses.retain(|address| !taken(address));
            store.put(&other)?;
        }
    }
    store.put(record)?;
    put_in(&wanted, absent_is_error, open)
}

/// Takes an attachment's addresses out of its sets and forgets it. What another attachment holds by now stays.
pub(crate) fn leave(
    store: &LockedStore<'_>,
    record: &Record,
    open: &mut Open<'_>,
) -> Result<(), MembershipError> {
    let addresses = record.addresses.iter().copied().collect();
    let others = store.others_holding(&addresses, &record.id)?;
    let kept: BTreeSet<_> = others.iter().flat_map(memberships).collect();
    take_out(
        memberships(record).filter(|left| !kept.contains(left)),
        open,
    )?;
    store.remove(&record.id)?;
    Ok(())
}

fn put_in(
    wanted: &BTreeSet<Membership>,
    absent_is_error: bool,
    open: &mut Open<'_>,
) -> Result<(), MembershipError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut sets = match open() {
        Err(AddressSetError::Unsupported) if !absent_is_error => return Ok(()),
        other => other?,
    };
    for (set, address) in wanted {
        match sets.add(&spec(set), &[Entry::Ip(*address)]) {
            Err(AddressSetError::NotFound { name }) if absent_is_error => {
                return Err(MembershipError::NotYet(name));
            }
            Err(AddressSetError::NotFound { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

fn take_out(
    stale: impl Iterator<Item = Membership>,
    open: &mut Open<'_>,
) -> Result<(), AddressSetError> {
    let mut stale = stale.peekable();
    if stale.peek().is_none() {
        return Ok(());
    }
    let mut sets = match open() {
        Err(AddressSetError::Unsupported) => return Ok(()),
        other => other?,
    };
    for (set, address) in stale.filter(|(set, _)| is_name(&set.name)) {
        match sets.delete(&spec(&set), &[Entry::Ip(address)]) {
            // Nor is it in a set that cannot hold it, of another kind or family.
            Ok(()) | Err(AddressSetError::NotFound { .. } | AddressSetError::Mismatch { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes out of sets every address that no record holds there.
pub(crate) fn sweep(
    records: &[Record],
    names: &BTreeSet<SetName>,
    open: &mut Open<'_>,
) -> Result<(), MembershipError> {
    let held: BTreeSet<_> = records.iter().flat_map(memberships).collect();
    let mut stray = Vec::new();
    {
        let mut sets = match open() {
            Err(AddressSetError::Unsupported) => return Ok(()),
            other => other?,
        };
        for set in names {
            let members = members(&mut *sets, &set.name)?.unwrap_or_default();
            stray.extend(members.into_iter().map(|address| (set.clone(), address)));
        }
    }
    stray.retain(|membership| !held.contains(membership));
    Ok(take_out(stray.into_iter(), open)?)
}

/// Sets of a record and addresses in them.
pub(crate) fn memberships(record: &Record) -> impl Iterator<Item = Membership> {
    record.addresses.iter().flat_map(|address| {
        let sets = record.treatment.sets_of(*address);
        sets.map(|set| (set.clone(), *address))
    })
}

/// The addresses in a set; `None` where there is no such set.
pub(crate) fn members(
    sets: &mut dyn AddressSets,
    name: &str,
) -> Result<Option<BTreeSet<IpAddr>>, AddressSetError> {
    let listed = match sets.list(name) {
        Err(AddressSetError::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let addresses = listed.into_iter().filter_map(|listed| match listed.entry {
        Entry::Ip(address) => Some(address),
        _ => None,
    });
    Ok(Some(addresses.collect()))
}

/// Of a set that is there: the sizes do not matter.
fn spec(set: &SetName) -> SetSpec {
    SetSpec {
        name: set.name.clone(),
        kind: SetKind::HashIp,
        family: match set.family {
            Family::V4 => address_set::Family::V4,
            Family::V6 => address_set::Family::V6,
        },
        max_entries: 0,
        expected_entries: 0,
        timeout_seconds: None,
        marks: false,
    }
}

#[cfg(test)]
mod tests;
