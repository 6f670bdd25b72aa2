//! The twin of [`ProcSysctls`](super::ProcSysctls) in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{SysctlError, Sysctls, same_value};

/// [`Sysctls`] in memory: it has the tunables that it was given. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct MemorySysctls {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    values: BTreeMap<String, String>,
    failures: Vec<(String, SysctlError)>,
    writes: Vec<(String, String)>,
}

impl MemorySysctls {
    /// A kernel with these tunables.
    pub fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let twin = Self::default();
        for (name, value) in values {
            twin.put(name, value);
        }
        twin
    }

    /// Sets a value as another program would.
    pub fn put(&self, name: &str, value: &str) {
        self.lock().values.insert(name.to_owned(), value.to_owned());
    }

    /// Makes the next write of `name` fail.
    pub fn fail_next_write(&self, name: &str, error: SysctlError) {
        self.lock().failures.push((name.to_owned(), error));
    }

    /// The writes through the door since the last time this was asked, oldest first.
    pub fn take_writes(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lock().writes)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sysctls for MemorySysctls {
    fn read(&mut self, name: &str) -> Result<String, SysctlError> {
        self.lock()
            .values
            .get(name)
            .cloned()
            .ok_or_else(|| SysctlError::NotFound {
                name: name.to_owned(),
            })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, SysctlError> {
        let old = self.read(name)?;
        if same_value(&old, value) {
            return Ok(None);
        }
        let mut shared = self.lock();
        if let Some(index) = shared.failures.iter().position(|(n, _)| n == name) {
            return Err(shared.failures.remove(index).1);
        }
        // The kernel reads numbers apart at any white space, and writes them apart by tabs.
        let printed = value.split_whitespace().collect::<Vec<_>>().join("\t");
        shared.values.insert(name.to_owned(), printed);
        shared.writes.push((name.to_owned(), value.to_owned()));
        Ok(Some(old))
    }
}
