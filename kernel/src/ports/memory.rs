//! The twin of [`NetlinkPorts`](super::NetlinkPorts) in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Port, PortError, Ports};
use crate::fault::PlannedFault;

/// [`Ports`] in memory. Clones are handles to the same ports.
#[derive(Debug, Clone, Default)]
pub struct MemoryPorts {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    ports: BTreeMap<u32, Port>,
    fault: PlannedFault<PortError>,
}

impl MemoryPorts {
    /// A namespace without interfaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a port there, in place of one of the same index.
    pub fn put(&self, port: Port) {
        self.lock().ports.insert(port.index, port);
    }

    /// After `successes` more calls, one fails with `error` and without effect.
    pub fn fail_after(&self, successes: usize, error: fn() -> PortError) {
        self.lock().fault.plan(successes, error);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ports for MemoryPorts {
    fn named(&mut self, name: &str) -> Result<Option<Port>, PortError> {
        let mut shared = self.lock();
        shared.fault.pass()?;
        let found = shared.ports.values().find(|port| port.name == name);
        Ok(found.cloned())
    }

    fn at(&mut self, index: u32) -> Result<Option<Port>, PortError> {
        let mut shared = self.lock();
        shared.fault.pass()?;
        Ok(shared.ports.get(&index).cloned())
    }

    fn set_hairpin(&mut self, index: u32, on: bool) -> Result<(), PortError> {
        let operation = format!("set hairpin of interface {index}");
        let mut shared = self.lock();
        shared.fault.pass()?;
        match shared.ports.get_mut(&index) {
            None => Err(PortError::NoSuchInterface { operation }),
            Some(Port {
                hairpin: Some(hairpin),
                ..
            }) => {
                *hairpin = on;
                Ok(())
            }
            Some(_) => Err(PortError::NotABridgePort { operation }),
        }
    }
}
