//! The twin of [`NetlinkLinks`](super::NetlinkLinks) in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{InterfaceAddress, Link, LinkError, Links, Route};

const ENETDOWN: i32 = 100;

/// [`Links`] in memory. Clones are handles to the same links, so a test can look inside and change them beside the code under test.
///
/// Routes that the kernel makes and deletes of its own, with addresses and with links that go down, are not made here.
#[derive(Debug, Clone, Default)]
pub struct MemoryLinks {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<InterfaceAddress>,
    routes: Vec<Route>,
    failures: Vec<(LinkOperation, LinkError)>,
}

/// A call of [`Links`] that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOperation {
    /// `links`, `addresses`, `routes`
    List,
    /// `set_hairpin`, `set_up`
    ChangeLink,
    /// `add_address`, `delete_address`
    ChangeAddress,
    /// `replace_route`, `delete_route`
    ChangeRoute,
}

impl MemoryLinks {
    /// A node without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a link there, in place of one of the same index.
    pub fn put_link(&self, link: Link) {
        self.lock().links.insert(link.index, link);
    }

    /// Takes a link away, its addresses and routes with it.
    pub fn remove_link(&self, index: u32) {
        let mut shared = self.lock();
        shared.links.remove(&index);
        shared.addresses.retain(|a| a.interface != index);
        shared.routes.retain(|r| r.interface != Some(index));
    }

    /// Makes the next call of `operation` fail; several are used up in turn.
    pub fn fail_next(&self, operation: LinkOperation, error: LinkError) {
        self.lock().failures.push((operation, error));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: LinkOperation) -> Result<MutexGuard<'_, Shared>, LinkError> {
        let mut shared = self.lock();
        match shared.failures.iter().position(|(o, _)| *o == operation) {
            Some(index) => Err(shared.failures.remove(index).1),
            None => Ok(shared),
        }
    }
}

impl Shared {
    fn link(&mut self, index: u32) -> Result<&mut Link, LinkError> {
        let missing = || LinkError::NoSuchInterface {
            operation: format!("interface {index}"),
        };
        self.links.get_mut(&index).ok_or_else(missing)
    }
}

/// Routes that cannot stand beside each other.
fn same_place(one: &Route, other: &Route) -> bool {
    one.destination.trunc() == other.destination.trunc()
        && one.table == other.table
        && one.metric == other.metric
}

impl Links for MemoryLinks {
    fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        Ok(self
            .begin(LinkOperation::List)?
            .links
            .values()
            .cloned()
            .collect())
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError> {
        Ok(self
            .begin(LinkOperation::List)?
            .addresses
            .iter()
            .copied()
            .collect())
    }

    fn routes(&mut self) -> Result<Vec<Route>, LinkError> {
        Ok(self.begin(LinkOperation::List)?.routes.clone())
    }

    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeLink)?;
        let link = shared.link(interface)?;
        if link.hairpin.is_none() {
            return Err(LinkError::NotABridgePort { interface });
        }
        link.hairpin = Some(on);
        Ok(())
    }

    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError> {
        self.begin(LinkOperation::ChangeLink)?.link(interface)?.up = up;
        Ok(())
    }

    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeAddress)?;
        shared.link(address.interface)?;
        shared.addresses.insert(*address);
        Ok(())
    }

    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeAddress)?;
        shared.link(address.interface)?;
        Ok(shared.addresses.remove(address))
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeRoute)?;
        if let Some(interface) = route.interface
            && !shared.link(interface)?.up
        {
            return Err(LinkError::Kernel {
                operation: format!("add route to {}", route.destination),
                code: ENETDOWN,
            });
        }
        shared.routes.retain(|r| !same_place(r, route));
        shared.routes.push(*route);
        Ok(())
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError> {
        let mut shared = self.begin(LinkOperation::ChangeRoute)?;
        let before = shared.routes.len();
        shared.routes.retain(|r| !same_place(r, route));
        Ok(shared.routes.len() < before)
    }
}
