//! Sees to it that address sets, records and hairpin flags are as settings and labels ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice_api_access::with_causes;
use sluice_attachment::store::{Store, StoreError};
use sluice_attachment::{HairpinSet, Record, SetName};
use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, SetKind, SetSpec};
use sluice_kernel::links::{LinkError, Links, named};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use super::correction::Correction;
use super::pods::Pods;
use super::terms::{Terms, kernel_family};
use crate::agent::Report;
use crate::metrics::Metrics;

/// Between two looks where nobody says that something changed.
const EVERY: Duration = Duration::from_secs(30);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(50);
/// After an attachment, which is as it should be unless something changed in that moment: a look keeps other plugins waiting for the lock.
const UNHURRIED: Duration = Duration::from_secs(1);
/// Plugins hold the lock for less than a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Errors of an upkeep. It is tried again; what was done before the error stays done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The records.
    #[error("the records of attachments cannot be read or written")]
    Store(#[from] StoreError),
    /// Sets.
    #[error("the address sets of pod classes cannot be read or written")]
    Sets(#[from] AddressSetError),
    /// Hairpin flags.
    #[error("the ports of bridges cannot be read or changed")]
    Links(#[from] LinkError),
}

/// See the module.
pub struct Upkeep {
    /// Where the plugin keeps its records.
    pub store: Store,
    /// The door to address sets.
    pub sets: Box<dyn AddressSets>,
    /// The door to links.
    pub links: Box<dyn Links>,
    /// The settings in force are in it.
    pub report: watch::Receiver<Report>,
    /// What is known of pods.
    pub pods: watch::Receiver<Pods>,
    /// Told when an attachment was made or ended.
    pub nudge: Arc<Notify>,
    /// Where repairs are counted.
    pub metrics: Arc<Metrics>,
}

impl Upkeep {
    /// Looks whenever something changed, and now and then; until the agent ends. The doors to the kernel may not be used within the runtime.
    pub fn follow(mut self, runtime: &Runtime) {
        let mut last_error = String::new();
        loop {
            match self.look() {
                Ok(()) => last_error.clear(),
                Err(error) => {
                    let words = with_causes(&error);
                    if words != last_error {
                        tracing::warn!(
                            error = words,
                            "attachments of pods cannot be looked after; trying again"
                        );
                        last_error = words;
                    }
                }
            }
            if !runtime.block_on(self.changes()) {
                return;
            }
        }
    }

    /// Waits until there is something to look at. Returns false where nothing will come any more.
    async fn changes(&mut self) -> bool {
        let attachment = async {
            self.nudge.notified().await;
            tokio::time::sleep(UNHURRIED).await;
        };
        let goes_on = tokio::select! {
            changed = self.report.changed() => changed.is_ok(),
            changed = self.pods.changed() => changed.is_ok(),
            () = attachment => true,
            () = tokio::time::sleep(EVERY) => true,
        };
        tokio::time::sleep(GATHER).await;
        goes_on
    }

    /// One look at everything.
    pub fn look(&mut self) -> Result<(), UpkeepError> {
        let Some(terms) = self.report.borrow_and_update().terms.clone() else {
            return Ok(());
        };
        let pods = self.pods.borrow_and_update().clone();
        let records = self.correct(&terms, &pods)?;
        self.repair_hairpin(&records)
    }

    /// No plugin attaches or detaches meanwhile. Returns all records.
    fn correct(&mut self, terms: &Terms, pods: &Pods) -> Result<Vec<Record>, UpkeepError> {
        let locked = self.store.lock(LOCK_PATIENCE)?;
        let listing = locked.list()?;
        for corrupt in &listing.corrupt {
            tracing::warn!(file = %corrupt.path.display(), reason = corrupt.reason,
                "the record of an attachment cannot be read and was set aside: its pod has the node's default source NAT");
        }
        if let Some(error) = &listing.disagreement {
            tracing::warn!(
                error = with_causes(error),
                "the records of attachments and the index of their addresses do not agree"
            );
        }
        self.metrics
            .attachments
            .set_attachments(listing.records.len());
        let held = held(self.sets.as_mut(), terms)?;
        let correction = Correction::between(&held, listing.records.clone(), terms, pods);
        let mut repairs = 0;
        // A pod that moves is rather in both than in none.
        for (set, addresses) in &correction.come {
            repairs += addresses.len();
            self.sets.add(&spec(set), &entries(addresses))?;
        }
        for (set, addresses) in &correction.go {
            repairs += addresses.len();
            self.sets.delete(&spec(set), &entries(addresses))?;
        }
        for record in &correction.records {
            locked.put(record)?;
            tracing::info!(
                attachment = %record.id,
                class = record.treatment.class,
                "the pod's class is another now"
            );
        }
        self.metrics.attachments.count_repairs("set", repairs);
        Ok(listing.records)
    }

    /// The flag goes off when others make the port anew or change it.
    fn repair_hairpin(&mut self, records: &[Record]) -> Result<(), UpkeepError> {
        let of_ports = |record: &&Record| matches!(record.hairpin, HairpinSet::BridgePort { .. });
        let mut wanted = records.iter().filter(of_ports).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let links = self.links.links()?;
        for record in wanted {
            let port = record.host_interface.as_deref();
            let Some(port) = port.and_then(|name| named(&links, name)) else {
                continue;
            };
            if port.hairpin == Some(false) {
                self.links.set_hairpin(port.index, true)?;
                self.metrics.attachments.count_repairs("hairpin", 1);
                tracing::warn!(attachment = %record.id, port = port.name, "the port's hairpin flag was off; it is on again");
            }
        }
        Ok(())
    }
}

/// Addresses in the sets of classes, of those sets that the kernel has.
fn held(
    sets: &mut dyn AddressSets,
    terms: &Terms,
) -> Result<BTreeMap<SetName, BTreeSet<IpAddr>>, UpkeepError> {
    let mut held = BTreeMap::new();
    for set in &terms.sets {
        // By its name: to ask for all names costs a message a set, and affinity has many thousands.
        let listed = match sets.list(&set.name) {
            Err(AddressSetError::NotFound { .. }) => continue,
            other => other?,
        };
        let addresses = listed.into_iter().filter_map(|listed| match listed.entry {
            Entry::Ip(address) => Some(address),
            _ => None,
        });
        held.insert(set.clone(), addresses.collect());
    }
    Ok(held)
}

fn entries(addresses: &BTreeSet<IpAddr>) -> Vec<Entry> {
    addresses.iter().copied().map(Entry::Ip).collect()
}

/// As much of it as writing entries takes.
fn spec(set: &SetName) -> SetSpec {
    SetSpec {
        name: set.name.clone(),
        kind: SetKind::HashIp,
        family: kernel_family(set.family),
        max_entries: 0,
        expected_entries: 0,
        timeout_seconds: None,
        marks: false,
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;
    use sluice_kernel::address_set::{MemorySets, Operation};
    use sluice_kernel::links::MemoryLinks;

    use super::*;
    use crate::settings::{NodeNetworks, NodeSettings};

    #[test]
    fn a_look_asks_for_the_sets_of_pods_only() {
        let policy = ServiceProxyPolicySpec::default();
        let terms = NodeSettings::resolve(&policy, NodeNetworks::default()).attachments;
        let mut sets = MemorySets::new();
        // Others may be missing.
        let set = terms
            .sets
            .iter()
            .find(|set| set.name.starts_with("SLUICE-4"));
        let set = SetSpec {
            max_entries: 100,
            expected_entries: 16,
            ..spec(set.unwrap())
        };
        sets.create(&set).unwrap();
        let stray = "10.244.0.5".parse().unwrap();
        sets.add(&set, &[Entry::Ip(stray)]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (_report, report) = watch::channel(Report {
            terms: Some(Arc::clone(&terms)),
            ..Report::default()
        });
        let (_pods, pods) = watch::channel(Pods::default());
        let mut upkeep = Upkeep {
            store: Store::open(directory.path()).unwrap(),
            sets: Box::new(sets.clone()),
            links: Box::new(MemoryLinks::new()),
            report,
            pods,
            nudge: Arc::default(),
            metrics: Arc::default(),
        };
        sets.forget_operations();
        upkeep.look().unwrap();
        let all = |operation: &Operation| matches!(operation, Operation::Headers(_));
        let operations = sets.operations();
        assert!(!operations.iter().any(all), "{operations:?}");
        assert!(
            sets.list(&set.name).unwrap().is_empty(),
            "a stray address stays"
        );
    }
}
