//! Modules kept in memory: a test says which there are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ModuleState, Modules, ModulesError, canonical};
use crate::fault::PlannedFault;

/// The in-memory twin of [`ModprobeModules`](super::ModprobeModules). Clones share their modules: a test keeps one to look
/// inside.
#[derive(Debug, Clone, Default)]
pub struct MemoryModules {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    modules: BTreeMap<String, ModuleState>,
    loads: Vec<String>,
    fault: PlannedFault<ModulesError>,
}

impl MemoryModules {
    /// All modules missing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a module is.
    pub fn set(&self, name: &str, state: ModuleState) {
        self.lock().modules.insert(canonical(name), state);
    }

    /// What was loaded, as modprobe's arguments: `ip_vs conn_tab_bits=20`.
    pub fn loads(&self) -> Vec<String> {
        self.lock().loads.clone()
    }

    /// After `successes` more calls, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> ModulesError) {
        self.lock().fault.plan(successes, error);
    }

    /// A poisoned lock means that a test has failed already, and it may still want to look inside.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&self, name: &str) -> ModuleState {
        let known = self.modules.get(&canonical(name));
        known.copied().unwrap_or(ModuleState::Missing)
    }
}

impl Modules for MemoryModules {
    fn state(&mut self, name: &str) -> Result<ModuleState, ModulesError> {
        let mut state = self.lock();
        state.fault.pass()?;
        Ok(state.of(name))
    }

    fn load(&mut self, name: &str, parameters: &[(&str, &str)]) -> Result<(), ModulesError> {
        let mut state = self.lock();
        state.fault.pass()?;
        match state.of(name) {
            ModuleState::BuiltIn | ModuleState::Loaded => Ok(()),
            ModuleState::Missing => Err(ModulesError::NotFound {
                name: name.to_owned(),
                directory: PathBuf::from("/lib/modules"),
            }),
            ModuleState::Loadable => {
                let arguments = parameters
                    .iter()
                    .map(|(key, value)| format!(" {key}={value}"));
                let load = name.to_owned() + &arguments.collect::<String>();
                state.loads.push(load);
                state.modules.insert(canonical(name), ModuleState::Loaded);
                Ok(())
            }
        }
    }
}
