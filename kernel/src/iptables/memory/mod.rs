//! The twin of [`IptablesPrograms`](super::IptablesPrograms) in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Family, Iptables, IptablesError, Listed, Stamp, Table, Variant};

mod interpret;
mod ruleset;

use interpret::interpret;
use ruleset::Ruleset;

/// An [`Iptables`] in memory: it understands the text of `iptables-restore --noflush` as the programs do, refuses what they
/// refuse, and can be told to fail.
///
/// Clones are handles to the same rules, each with its own counters: one for the code under test, one for the test, which so
/// can look inside, or tamper as another program on the node would.
#[derive(Debug)]
pub struct MemoryIptables {
    variant: Variant,
    shared: Arc<Mutex<Shared>>,
    programs_started: u64,
    bytes_written: u64,
}

#[derive(Debug, Default)]
struct Shared {
    v4: Ruleset,
    v6: Ruleset,
    failures: Vec<PlannedFailure>,
    calls: Vec<Call>,
    /// Tables committed so far.
    commits: u32,
}

/// One call, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Of [`Iptables::restore`].
    Restore {
        /// Family.
        family: Family,
        /// The whole text.
        input: String,
    },
    /// Of [`Iptables::list`].
    List {
        /// Family.
        family: Family,
        /// Table.
        table: Table,
    },
}

/// Which calls a failure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Iptables::restore`]
    Restore,
    /// [`Iptables::list`]
    List,
}

#[derive(Debug)]
struct PlannedFailure {
    operation: Operation,
    /// Calls of that operation that pass before it.
    after: usize,
    tables_committed: usize,
    error: IptablesError,
}

impl Clone for MemoryIptables {
    fn clone(&self) -> Self {
        Self {
            variant: self.variant,
            shared: Arc::clone(&self.shared),
            programs_started: 0,
            bytes_written: 0,
        }
    }
}

impl MemoryIptables {
    /// An empty packet filter: the built-in chains, no rules.
    pub fn new(variant: Variant) -> Self {
        Self {
            variant,
            shared: Arc::default(),
            programs_started: 0,
            bytes_written: 0,
        }
    }

    /// Makes the next call of `operation` fail. Planned failures of one operation count their calls one after another.
    pub fn fail_next(&self, operation: Operation, error: IptablesError) {
        self.fail_after(operation, 0, 0, error);
    }

    /// Lets `calls` of `operation` pass and fails the one after them. A restore that fails so has committed the first
    /// `tables_committed` tables of its text, as when a program dies half way.
    pub fn fail_after(
        &self,
        operation: Operation,
        calls: usize,
        tables_committed: usize,
        error: IptablesError,
    ) {
        self.lock().failures.push(PlannedFailure {
            operation,
            after: calls,
            tables_committed,
            error,
        });
    }

    /// The calls since the last time this was asked, of all handles, oldest first.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// The rules of a chain as they would be listed; `None` if there is no such chain. Not counted as a call.
    pub fn rules(&self, family: Family, table: Table, chain: &str) -> Option<Vec<String>> {
        self.lock()
            .ruleset(family)
            .table(table)
            .rules(chain)
            .map(<[String]>::to_vec)
    }

    /// Names of all chains of a table, built-in ones first. Not counted as a call.
    pub fn chains(&self, family: Family, table: Table) -> Vec<String> {
        self.lock()
            .ruleset(family)
            .table(table)
            .listed()
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Rules are replaced a table at a time, so they are whole even if a test's thread died.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn ruleset(&mut self, family: Family) -> &mut Ruleset {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// The failure that is due now, if any.
    fn due(&mut self, operation: Operation) -> Option<PlannedFailure> {
        let index = self
            .failures
            .iter()
            .position(|f| f.operation == operation)?;
        if self.failures[index].after == 0 {
            return Some(self.failures.remove(index));
        }
        self.failures[index].after -= 1;
        None
    }
}

impl Iptables for MemoryIptables {
    fn variant(&self) -> Variant {
        self.variant
    }

    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        self.programs_started += 1;
        self.bytes_written += input.len() as u64;
        let mut shared = self.lock();
        shared.calls.push(Call::Restore {
            family,
            input: input.to_owned(),
        });
        let failure = shared.due(Operation::Restore);
        let tables = failure.as_ref().map_or(usize::MAX, |f| f.tables_committed);
        let mut commits = 0;
        let outcome = interpret(shared.ruleset(family), input, tables, &mut commits);
        shared.commits += commits;
        match failure {
            Some(failure) => Err(failure.error),
            None => outcome.map_err(|refusal| refusal.into_error(input)),
        }
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        self.programs_started += 1;
        let mut shared = self.lock();
        shared.calls.push(Call::List { family, table });
        if let Some(failure) = shared.due(Operation::List) {
            return Err(failure.error);
        }
        for (name, rules) in shared.ruleset(family).table(table).listed() {
            on_item(Listed::Chain(name));
            for rule in rules {
                on_item(Listed::Rule { chain: name, rule });
            }
        }
        Ok(())
    }

    fn stamp(&mut self) -> Option<Stamp> {
        (self.variant == Variant::Nft).then(|| Stamp::made_up(self.lock().commits))
    }

    fn programs_started(&self) -> u64 {
        self.programs_started
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}
