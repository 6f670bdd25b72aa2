//! Which clients stick to which endpoint: one set of client addresses per endpoint, with the affinity timeout.
//!
//! Rules add and refresh entries as connections start; the agent only makes sets, takes them away, and changes their timeout.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, SetKind, SetSpec};
use sluice_service_plan::model::Family;
use sluice_service_plan::plan::{Plan, PlanChange, PortKey, PortPlan, ServicePlan};

use super::names;
use crate::data_plane::Drift;
use crate::family::kernel_family;

#[cfg(test)]
mod tests;

/// Clients that one endpoint can remember.
const MAX_CLIENTS: u32 = 1 << 20;

/// Hash buckets of the sets of one port, all endpoints together. Packets add the clients, and for a packet the kernel never grows a hash: a
/// bucket holds 12, the next client is forgotten (`ip_set_hash_gen.h`). Of 10,000 clients of an endpoint with 4,096 buckets hardly ever
/// one finds its bucket full; each bucket costs 8 bytes, filled or not.
const BUCKETS_OF_PORT: usize = 1 << 16;

/// The same of one endpoint.
const BUCKETS: std::ops::RangeInclusive<usize> = 64..=4096;

/// The affinity sets.
pub(super) struct AffinitySets {
    kernel: Box<dyn AddressSets>,
    families: Vec<Family>,
    /// Those that rules go by, with their timeouts.
    held: BTreeMap<String, u32>,
    /// Those to be destroyed once no rule uses them, with theirs.
    retired: BTreeMap<String, u32>,
    /// Ports whose sets the kernel had no room for.
    forgetful: BTreeSet<PortKey>,
}

impl AffinitySets {
    pub(super) fn new(kernel: Box<dyn AddressSets>, families: &[Family]) -> Self {
        Self {
            kernel,
            families: families.to_vec(),
            held: BTreeMap::new(),
            retired: BTreeMap::new(),
            forgetful: BTreeSet::new(),
        }
    }

    /// Makes what the plan needs of what the kernel has. Returns how many sets were made or changed.
    pub(super) fn stage_all(&mut self, plan: &Plan) -> Result<u64, AddressSetError> {
        self.forget();
        for family in &self.families {
            let listed = self.kernel.headers(names::affinity_prefix(*family))?;
            let specs = listed.into_iter().map(|header| header.spec);
            self.retired
                .extend(specs.map(|spec| (spec.name, spec.timeout_seconds.unwrap_or_default())));
        }
        let mut made = 0;
        for service in plan.services.values() {
            made += self.make_all(service)?;
        }
        Ok(made)
    }

    /// The step of one change: what comes is made now, what goes is kept until [`finish`](Self::finish).
    pub(super) fn stage(&mut self, change: &PlanChange) -> Result<u64, AddressSetError> {
        let before = change.services.iter().filter_map(|c| c.before.as_deref());
        for port in before.flat_map(|service| &service.ports) {
            self.retire(port);
        }
        let mut made = 0;
        for service in change.services.iter().filter_map(|c| c.after.as_deref()) {
            made += self.make_all(service)?;
        }
        Ok(made)
    }

    /// The service as its clients can be remembered: without affinity at the ports that have no sets.
    pub(super) fn remembered(&self, service: &Arc<ServicePlan>) -> Arc<ServicePlan> {
        let is_forgetful = |port: &PortPlan| self.forgetful.contains(&port.key);
        if !service.ports.iter().any(is_forgetful) {
            return Arc::clone(service);
        }
        let mut service = ServicePlan::clone(service);
        for port in service.ports.iter_mut().filter(|port| is_forgetful(port)) {
            port.affinity_seconds = None;
        }
        Arc::new(service)
    }

    /// What it does otherwise than the services ask, in sentences.
    pub(super) fn conditions(&self) -> Vec<String> {
        let Some(first) = self.forgetful.first() else {
            return Vec::new();
        };
        vec![format!(
            "the kernel has no room for more address sets, of which sessionAffinity takes one for each endpoint and port: without affinity \
             are {} service ports, {first} first; they are tried again when they change: use sessionAffinity with fewer endpoints, or mode IPVS",
            self.forgetful.len()
        )]
    }

    fn forget(&mut self) {
        self.held.clear();
        self.retired.clear();
        self.forgetful.clear();
    }

    /// The port's sets go, unless the change asks for them again.
    fn retire(&mut self, port: &PortPlan) {
        self.forgetful.remove(&port.key);
        for (name, _) in self.sets_of(port) {
            if let Some(timeout) = self.held.remove(&name) {
                self.retired.insert(name, timeout);
            }
        }
    }

    /// Makes the sets of a service. Where the kernel has no room for those of a port, that port has none.
    fn make_all(&mut self, service: &ServicePlan) -> Result<u64, AddressSetError> {
        let mut made = 0;
        for port in &service.ports {
            for (name, wanted) in self.sets_of(port) {
                match self.make(&name, wanted) {
                    Ok(is_new) => made += u64::from(is_new),
                    Err(AddressSetError::TooMany { .. } | AddressSetError::NoMemory { .. }) => {
                        self.give_up(port)?;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(made)
    }

    /// Makes a set, or gives the one that there is its timeout. Tells whether there was something to do.
    fn make(&mut self, name: &str, wanted: Wanted) -> Result<bool, AddressSetError> {
        let is_new = match self.retired.get(name).copied() {
            None => {
                self.kernel.create(&spec(name, wanted))?;
                true
            }
            Some(old) if old != wanted.timeout => {
                self.retime(name, wanted, old)?;
                true
            }
            Some(_) => false,
        };
        self.retired.remove(name);
        self.held.insert(name.to_owned(), wanted.timeout);
        Ok(is_new)
    }

    /// Lets go of a port's sets, at once of those that no rule uses yet: others may have the room.
    fn give_up(&mut self, port: &PortPlan) -> Result<(), AddressSetError> {
        self.retire(port);
        self.forgetful.insert(port.key.clone());
        for (name, _) in self.sets_of(port) {
            if self.retired.contains_key(&name) && self.destroy(&name)? {
                self.retired.remove(&name);
            }
        }
        Ok(())
    }

    fn sets_of(&self, port: &PortPlan) -> BTreeMap<String, Wanted> {
        let family = port.key.family;
        let Some(timeout) = port
            .affinity_seconds
            .filter(|_| self.families.contains(&family))
        else {
            return BTreeMap::new();
        };
        let pools = || port.used_pools().map(|pool| port.pool(pool));
        let most = pools().map(|pool| pool.len()).max().unwrap_or_default();
        let wanted = Wanted {
            family,
            timeout,
            buckets: buckets(most),
        };
        let endpoints = pools().flat_map(|pool| pool.iter());
        endpoints
            .map(|endpoint| (names::affinity_set(&port.key, endpoint), wanted))
            .collect()
    }

    /// Destroys what no rule uses any more. Returns how many sets.
    pub(super) fn finish(&mut self) -> Result<u64, AddressSetError> {
        let mut destroyed = 0;
        for (name, timeout) in std::mem::take(&mut self.retired) {
            if self.destroy(&name)? {
                destroyed += 1;
            } else {
                // Rules of the other variant go by it, until they are removed.
                tracing::debug!(set = name, "still in use");
                self.retired.insert(name, timeout);
            }
        }
        Ok(destroyed)
    }

    /// False where rules use it.
    fn destroy(&mut self, name: &str) -> Result<bool, AddressSetError> {
        match self.kernel.destroy(name) {
            Ok(()) | Err(AddressSetError::NotFound { .. }) => Ok(true),
            Err(AddressSetError::InUse { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Looks whether the sets are there. Their entries are the clients' affair.
    pub(super) fn check(&mut self) -> Result<Vec<Drift>, AddressSetError> {
        if self.held.is_empty() {
            return Ok(Vec::new());
        }
        let mut there: HashMap<String, u32> = HashMap::new();
        for family in &self.families {
            let headers = self.kernel.headers(names::affinity_prefix(*family))?;
            there.extend(
                headers
                    .into_iter()
                    .map(|header| (header.spec.name, header.references)),
            );
        }
        let mut drifts = Vec::new();
        for name in self.held.keys() {
            let object = format!("address set {name}");
            match there.get(name) {
                None => drifts.push(Drift {
                    object,
                    what: "is gone".to_owned(),
                }),
                Some(0) => drifts.push(Drift {
                    object,
                    what: "is used by no rule".to_owned(),
                }),
                Some(_) => {}
            }
        }
        Ok(drifts)
    }

    /// The kernel holds some of our affinity sets.
    pub(super) fn is_present(&mut self) -> Result<bool, AddressSetError> {
        for &family in &self.families {
            if !self
                .kernel
                .headers(names::affinity_prefix(family))?
                .is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Destroys all affinity sets; goes on after errors.
    pub(super) fn remove(&mut self) -> Vec<AddressSetError> {
        self.forget();
        let mut errors = Vec::new();
        for family in &self.families {
            match self.kernel.headers(names::affinity_prefix(*family)) {
                Ok(headers) => {
                    errors.extend(
                        headers
                            .iter()
                            .filter_map(|header| self.kernel.destroy(&header.spec.name).err()),
                    );
                }
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Gives a set another timeout without losing a client: each keeps the time since it was last seen.
    ///
    /// A set's timeout cannot be changed, so another set takes its place by a swap, which rules do not notice. Clients that came
    /// while the first copy was made are copied after the swap.
    fn retime(&mut self, name: &str, wanted: Wanted, old: u32) -> Result<(), AddressSetError> {
        let new = wanted.timeout;
        let copy = spec(&format!("{name}-N"), wanted);
        match self.kernel.destroy(&copy.name) {
            Ok(()) | Err(AddressSetError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.kernel.create(&copy)?;
        let clients = self.clients(name, old, new)?;
        self.kernel.add_with_timeout(&copy, &clients)?;
        self.kernel.swap(&copy.name, name)?;
        let seen: BTreeSet<Entry> = clients.into_iter().map(|(entry, _)| entry).collect();
        let mut late = self.clients(&copy.name, old, new)?;
        late.retain(|(entry, _)| !seen.contains(entry));
        self.kernel.add_with_timeout(&spec(name, wanted), &late)?;
        self.kernel.destroy(&copy.name)
    }

    /// The clients of a set with the lifetimes that they have left under another timeout; those whose time is over are left out.
    fn clients(
        &mut self,
        name: &str,
        old: u32,
        new: u32,
    ) -> Result<Vec<(Entry, u32)>, AddressSetError> {
        let clients = self.kernel.list(name)?.into_iter().filter_map(|client| {
            // The kernel rounds what is left down: a client is remembered a little longer rather than forgotten too early.
            let left = client.timeout_seconds.unwrap_or(old).saturating_add(1);
            let idle = old.saturating_sub(left);
            (idle < new).then(|| (client.entry, new - idle))
        });
        Ok(clients.collect())
    }
}

/// What a set should be.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    family: Family,
    timeout: u32,
    buckets: u32,
}

/// The more endpoints share a port's clients, the fewer has each.
fn buckets(endpoints: usize) -> u32 {
    let each = (BUCKETS_OF_PORT / endpoints.max(1)).clamp(*BUCKETS.start(), *BUCKETS.end());
    u32::try_from(each).unwrap_or(u32::MAX)
}

fn spec(name: &str, wanted: Wanted) -> SetSpec {
    SetSpec {
        name: name.to_owned(),
        kind: SetKind::HashIp,
        family: kernel_family(wanted.family),
        max_entries: MAX_CLIENTS,
        expected_entries: wanted.buckets,
        timeout_seconds: Some(wanted.timeout),
        marks: false,
    }
}
