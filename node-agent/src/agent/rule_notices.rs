//! Hears when somebody else changes rules where ours are (the nft variant only: the legacy one gives no notice).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_kernel::iptables::Table;
use sluice_kernel::ruleset_events::{
    Commit, Notice, RulesetEvents, RulesetEventsError, TableFamily,
};

use super::inbox::Inbox;

/// How long the kernel is listened to at a stretch.
const WAIT: Duration = Duration::from_secs(3600);
/// Rest after the socket failed.
const RETRY: Duration = Duration::from_secs(1);
/// Commits of ours that are remembered until they are heard of; a sync makes less than ten.
const REMEMBERED: usize = 1000;

/// Tells our own transactions from those of others.
///
/// The kernel tells of a transaction before the program that made it ends. So a second socket, read right after our programs
/// ended, has heard of all that they did, and whoever hears of it by the first socket waits meanwhile.
#[derive(Debug, Default)]
pub struct RuleNotices {
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    events: Option<RulesetEvents>,
    generations: BTreeSet<u32>,
}

impl RuleNotices {
    /// Begins to listen.
    pub fn open() -> Result<Self, RulesetEventsError> {
        let own = Own {
            events: Some(RulesetEvents::open()?),
            generations: BTreeSet::new(),
        };
        Ok(Self {
            own: Mutex::new(own),
        })
    }

    /// Runs what writes rules; what iptables programs commit meanwhile counts as ours.
    pub fn during<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut own = self.lock();
        own.hear();
        let result = write();
        let generations: Vec<u32> = own
            .hear()
            .iter()
            .filter_map(|notice| match notice {
                Notice::Commit(commit) if is_restore(commit) => Some(commit.generation),
                _ => None,
            })
            .collect();
        own.generations.extend(generations);
        while own.generations.len() > REMEMBERED {
            own.generations.pop_first();
        }
        result
    }

    /// Tells the inbox of foreign changes until the process ends.
    pub fn follow(&self, mut events: RulesetEvents, inbox: &Arc<Inbox>) -> ! {
        loop {
            match events.wait(WAIT) {
                Ok(notices) => {
                    for notice in &notices {
                        if self.is_foreign(notice) {
                            tracing::debug!(?notice, "rules were changed by somebody else");
                            inbox.set_ruleset_changed();
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "changes of rules are not heard; they are looked for every few seconds");
                    std::thread::sleep(RETRY);
                    if let Ok(again) = RulesetEvents::open() {
                        events = again;
                        inbox.set_ruleset_changed();
                    }
                }
            }
        }
    }

    fn is_foreign(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Overrun => true,
            Notice::Commit(commit) => {
                let ours = self.lock().generations.remove(&commit.generation);
                !ours && touches_our_tables(commit)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    /// Everything that was committed since the last call.
    fn hear(&mut self) -> Vec<Notice> {
        let Some(events) = &mut self.events else {
            return Vec::new();
        };
        events.wait(Duration::ZERO).unwrap_or_else(|error| {
            tracing::debug!(%error, "own changes of rules were not heard");
            Vec::new()
        })
    }
}

/// The kernel cuts names to 15 bytes: `iptables-nft-re`, `ip6tables-nft-r`.
fn is_restore(commit: &Commit) -> bool {
    ["iptables-nft-re", "ip6tables-nft-r", "xtables-nft-mul"]
        .iter()
        .any(|name| commit.process_name.starts_with(name))
}

fn touches_our_tables(commit: &Commit) -> bool {
    let Some(tables) = &commit.tables else {
        return true;
    };
    tables.iter().any(|table| {
        [TableFamily::IPV4, TableFamily::IPV6].contains(&table.family)
            && Table::from_name(&table.name).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_kernel::ruleset_events::ChangedTable;

    fn commit(generation: u32, table: &str) -> Notice {
        let table = ChangedTable {
            family: TableFamily::IPV4,
            name: table.into(),
        };
        Notice::Commit(Commit {
            generation,
            process_id: 1,
            process_name: "nft".into(),
            tables: Some(BTreeSet::from([table])),
        })
    }

    #[test]
    fn only_commits_of_others_in_tables_of_iptables_are_foreign() {
        let notices = RuleNotices::default();
        notices.lock().generations.insert(7);
        assert!(!notices.is_foreign(&commit(7, "nat")), "it is ours");
        assert!(notices.is_foreign(&commit(8, "nat")));
        assert!(!notices.is_foreign(&commit(9, "docker")));
        assert!(notices.is_foreign(&Notice::Overrun));
    }
}
