//! Which clients stick to which endpoint: one set of client addresses per endpoint, with the affinity timeout.
//!
//! Rules add and refresh entries as connections start; the agent only makes sets, takes them away, and changes their timeout.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, SetHeader, SetKind, SetSpec,
};
use sluice_service_plan::model::Family;
use sluice_service_plan::plan::{Plan, PlanChange, ServicePlan};

use super::names;
use crate::data_plane::Drift;
use crate::family::kernel_family;

/// Clients that one endpoint can remember.
const MAX_CLIENTS: u32 = 1 << 20;

/// Hash buckets of a set. Packets add the clients, and for a packet the kernel never grows a hash: a bucket holds 12, the next
/// client is forgotten (`ip_set_hash_gen.h`). Of 10,000 clients of one endpoint hardly ever one finds its bucket full.
const BUCKETS: u32 = 4096;

/// Set name and what it should be.
type Wanted = BTreeMap<String, (Family, u32)>;

/// The affinity sets.
pub(super) struct AffinitySets {
    kernel: Box<dyn AddressSets>,
    families: Vec<Family>,
    held: Wanted,
    /// Those to be destroyed once no rule uses them, with their timeouts.
    retired: BTreeMap<String, u32>,
}

impl AffinitySets {
    pub(super) fn new(kernel: Box<dyn AddressSets>, families: &[Family]) -> Self {
        Self {
            kernel,
            families: families.to_vec(),
            held: BTreeMap::new(),
            retired: BTreeMap::new(),
        }
    }

    /// Makes what the plan needs of what the kernel has. Returns how many sets were made or changed.
    pub(super) fn stage_all(&mut self, plan: &Plan) -> Result<u64, AddressSetError> {
        self.held.clear();
        self.retired.clear();
        let mut wanted = Wanted::new();
        plan.services
            .values()
            .for_each(|service| self.collect(service, &mut wanted));
        let mut headers: HashMap<String, SetHeader> = HashMap::new();
        for family in &self.families {
            let listed = self.kernel.headers(names::affinity_prefix(*family))?;
            headers.extend(
                listed
                    .into_iter()
                    .map(|header| (header.spec.name.clone(), header)),
            );
        }
        let mut made = 0;
        for (name, &(family, timeout)) in &wanted {
            match headers.remove(name) {
                None => self.kernel.create(&spec(name, family, timeout))?,
                Some(header) if header.spec.timeout_seconds != Some(timeout) => {
                    self.retime(
                        name,
                        family,
                        header.spec.timeout_seconds.unwrap_or(timeout),
                        timeout,
                    )?;
                }
                Some(_) => continue,
            }
            made += 1;
        }
        let left = headers.into_values().map(|header| header.spec);
        self.retired
            .extend(left.map(|spec| (spec.name, spec.timeout_seconds.unwrap_or_default())));
        self.held = wanted;
        Ok(made)
    }

    /// The step of one change: what comes is made now, what goes is kept until [`finish`](Self::finish).
    pub(super) fn stage(&mut self, change: &PlanChange) -> Result<u64, AddressSetError> {
        let (mut before, mut after) = (Wanted::new(), Wanted::new());
        for service in &change.services {
            service
                .before
                .iter()
                .for_each(|service| self.collect(service, &mut before));
            service
                .after
                .iter()
                .for_each(|service| self.collect(service, &mut after));
        }
        let mut made = 0;
        for (name, &(family, timeout)) in &after {
            let retired = self.retired.remove(name);
            let held = self.held.insert(name.clone(), (family, timeout));
            match held.map(|(_, old)| old).or(retired) {
                None => self.kernel.create(&spec(name, family, timeout))?,
                Some(old) if old != timeout => self.retime(name, family, old, timeout)?,
                Some(_) => continue,
            }
            made += 1;
        }
        for name in before.into_keys().filter(|name| !after.contains_key(name)) {
            if let Some((_, timeout)) = self.held.remove(&name) {
                self.retired.insert(name, timeout);
            }
        }
        Ok(made)
    }

    /// Destroys what no rule uses any more. Returns how many sets.
    pub(super) fn finish(&mut self) -> Result<u64, AddressSetError> {
        let mut destroyed = 0;
        for (name, timeout) in std::mem::take(&mut self.retired) {
            match self.kernel.destroy(&name) {
                Ok(()) | Err(AddressSetError::NotFound { .. }) => destroyed += 1,
                // Rules of the other variant go by it, until they are removed.
                Err(AddressSetError::InUse { .. }) => {
                    tracing::debug!(set = name, "still in use");
                    self.retired.insert(name, timeout);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(destroyed)
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
        self.held.clear();
        self.retired.clear();
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

    fn collect(&self, service: &ServicePlan, wanted: &mut Wanted) {
        for port in service
            .ports
            .iter()
            .filter(|port| self.families.contains(&port.key.family))
        {
            let Some(timeout) = port.affinity_seconds else {
                continue;
            };
            for endpoint in port.used_pools().flat_map(|pool| port.pool(pool).iter()) {
                wanted.insert(
                    names::affinity_set(&port.key, endpoint),
                    (port.key.family, timeout),
                );
            }
        }
    }

    /// Gives a set another timeout without losing a client: each keeps the time since it was last seen.
    ///
    /// A set's timeout cannot be changed, so another set takes its place by a swap, which rules do not notice. Clients that came
    /// while the first copy was made are copied after the swap.
    fn retime(
        &mut self,
        name: &str,
        family: Family,
        old: u32,
        new: u32,
    ) -> Result<(), AddressSetError> {
        let copy = spec(&format!("{name}-N"), family, new);
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
        self.kernel
            .add_with_timeout(&spec(name, family, new), &late)?;
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
            let idle = old.saturating_sub(client.timeout_seconds.unwrap_or(old));
            (idle < new).then(|| (client.entry, new - idle))
        });
        Ok(clients.collect())
    }
}

fn spec(name: &str, family: Family, timeout: u32) -> SetSpec {
    SetSpec {
        name: name.to_owned(),
        kind: SetKind::HashIp,
        family: kernel_family(family),
        max_entries: MAX_CLIENTS,
        expected_entries: BUCKETS,
        timeout_seconds: Some(timeout),
        marks: false,
    }
}
