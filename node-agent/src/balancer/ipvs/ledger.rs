//! What in the kernel is ours: three address sets of each family. IPVS knows no owners.
//!
//! An entry is there before what it stands for, and goes after it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, Mark, SetHeader, SetKind, SetSpec,
};
use sluice_service_plan::model::Family;

use super::names;
use super::server::Server;
use crate::data_plane::Drift;
use crate::family::kernel_family;
use crate::kube_proxy::Claims;

/// An upper bound that no cluster meets; it costs nothing, a hash grows as it fills.
const MAX_ENTRIES: u32 = 1 << 24;
const WHOLE_MARK: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    Servers,
    Addresses,
    Inside,
}

/// The sets, and how much is in each.
pub(super) struct Ledger {
    kernel: Box<dyn AddressSets>,
    families: Vec<Family>,
    sizes: BTreeMap<(Account, Family), u32>,
}

/// What the sets hold.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) servers: HashSet<Server>,
    pub(super) addresses: HashSet<IpAddr>,
    pub(super) inside: HashMap<Entry, u32>,
}

impl Account {
    const ALL: [Self; 3] = [Self::Servers, Self::Addresses, Self::Inside];

    fn spec(self, family: Family) -> SetSpec {
        let (name, kind) = match self {
            Self::Servers => (names::servers(family), SetKind::HashIpPort),
            Self::Addresses => (names::addresses(family), SetKind::HashIp),
            Self::Inside => (names::inside(family), SetKind::HashIpPort),
        };
        SetSpec {
            name,
            kind,
            family: kernel_family(family),
            max_entries: MAX_ENTRIES,
            expected_entries: 0,
            timeout_seconds: None,
            marks: self == Self::Inside,
        }
    }
}

impl Ledger {
    pub(super) fn new(kernel: Box<dyn AddressSets>, families: &[Family]) -> Self {
        Self {
            kernel,
            families: families.to_vec(),
            sizes: BTreeMap::new(),
        }
    }

    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }

    /// Makes the sets that are missing, and room in those that somebody made too small. One of another kind under such a name is none
    /// of ours, so it is not replaced.
    pub(super) fn open(&mut self) -> Result<(), AddressSetError> {
        for family in self.families.clone() {
            let headers = self.headers(family)?;
            for account in Account::ALL {
                let spec = account.spec(family);
                match headers.iter().find(|held| held.spec.name == spec.name) {
                    None => self.kernel.create(&spec)?,
                    Some(held) if is_too_small(&held.spec, &spec) => self.enlarge(&spec)?,
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Rules go on referring to the set, so a larger one takes its place by a swap.
    fn enlarge(&mut self, spec: &SetSpec) -> Result<(), AddressSetError> {
        let larger = SetSpec {
            name: format!("{}-NEW", spec.name),
            ..spec.clone()
        };
        match self.kernel.destroy(&larger.name) {
            Ok(()) | Err(AddressSetError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.kernel.create(&larger)?;
        let held = self.kernel.list(&spec.name)?;
        let marked = held.iter().filter_map(|one| Some((one.entry, one.mark?)));
        let plain = held.iter().filter(|one| one.mark.is_none());
        let (marked, plain): (Vec<_>, Vec<_>) =
            (marked.collect(), plain.map(|one| one.entry).collect());
        self.kernel.add_marked(&larger, &marked)?;
        self.kernel.add(&larger, &plain)?;
        self.kernel.swap(&larger.name, &spec.name)?;
        self.kernel.destroy(&larger.name)
    }

    /// Reads everything.
    pub(super) fn read(&mut self) -> Result<Holdings, AddressSetError> {
        let mut holdings = Holdings::default();
        for family in self.families.clone() {
            for account in Account::ALL {
                let name = account.spec(family).name;
                let listed = match self.kernel.list(&name) {
                    Ok(listed) => listed,
                    Err(AddressSetError::NotFound { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                };
                for found in listed {
                    match (account, found.entry) {
                        (Account::Servers, entry) => {
                            holdings.servers.extend(Server::of_entry(entry));
                        }
                        (Account::Addresses, Entry::Ip(ip)) => {
                            holdings.addresses.insert(ip);
                        }
                        (Account::Inside, entry) => {
                            let mark = found.mark.map_or(0, |mark| mark.value);
                            holdings.inside.insert(entry, mark);
                        }
                        (Account::Addresses, _) => {}
                    }
                }
            }
        }
        Ok(holdings)
    }

    /// What kube-proxy's sets say is kube-proxy's.
    pub(super) fn claims_of_kube_proxy(&mut self) -> Result<Claims, AddressSetError> {
        Claims::read(self.kernel.as_mut())
    }

    pub(super) fn add_servers(&mut self, servers: &[Server]) -> Result<u64, AddressSetError> {
        let entries = servers.iter().map(Server::entry);
        self.change(Account::Servers, true, entries)
    }

    pub(super) fn delete_servers(&mut self, servers: &[Server]) -> Result<u64, AddressSetError> {
        let entries = servers.iter().map(Server::entry);
        self.change(Account::Servers, false, entries)
    }

    pub(super) fn add_addresses(&mut self, addresses: &[IpAddr]) -> Result<u64, AddressSetError> {
        let entries = addresses.iter().copied().map(Entry::Ip);
        self.change(Account::Addresses, true, entries)
    }

    pub(super) fn delete_addresses(
        &mut self,
        addresses: &[IpAddr],
    ) -> Result<u64, AddressSetError> {
        let entries = addresses.iter().copied().map(Entry::Ip);
        self.change(Account::Addresses, false, entries)
    }

    /// Gives frontends a mark that had none.
    pub(super) fn mark(&mut self, frontends: &[(Entry, u32)]) -> Result<u64, AddressSetError> {
        let written = self.remark(frontends)?;
        self.count(Account::Inside, frontends.iter().map(|(entry, _)| entry), 1);
        Ok(written)
    }

    /// Gives frontends another mark.
    pub(super) fn remark(&mut self, frontends: &[(Entry, u32)]) -> Result<u64, AddressSetError> {
        let mut by_family: BTreeMap<Family, Vec<(Entry, Mark)>> = BTreeMap::new();
        for (entry, value) in frontends {
            let mark = Mark {
                value: *value,
                mask: WHOLE_MARK,
            };
            let of_family = by_family.entry(family_of(entry)).or_default();
            of_family.push((*entry, mark));
        }
        for (family, entries) in by_family {
            self.kernel
                .add_marked(&Account::Inside.spec(family), &entries)?;
        }
        Ok(frontends.len() as u64)
    }

    pub(super) fn unmark(&mut self, frontends: &[(Entry, u32)]) -> Result<u64, AddressSetError> {
        let entries = frontends.iter().map(|(entry, _)| *entry);
        self.change(Account::Inside, false, entries)
    }

    fn change(
        &mut self,
        account: Account,
        add: bool,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<u64, AddressSetError> {
        let mut by_family: BTreeMap<Family, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            by_family.entry(family_of(&entry)).or_default().push(entry);
        }
        let mut written = 0;
        for (family, mut entries) in by_family {
            entries.sort_unstable();
            let spec = account.spec(family);
            if add {
                self.kernel.add(&spec, &entries)?;
                self.count(account, entries.iter(), 1);
            } else {
                self.kernel.delete(&spec, &entries)?;
                self.count(account, entries.iter(), -1);
            }
            written += entries.len() as u64;
        }
        Ok(written)
    }

    fn count<'a>(&mut self, account: Account, entries: impl Iterator<Item = &'a Entry>, step: i32) {
        for entry in entries {
            let size = self.sizes.entry((account, family_of(entry))).or_default();
            *size = size.saturating_add_signed(step);
        }
    }

    /// Reads how much is in each set; from here on it is counted.
    pub(super) fn note_sizes(&mut self) -> Result<(), AddressSetError> {
        self.sizes = self.present_sizes()?;
        Ok(())
    }

    /// Compares how much is in each set with what was written.
    pub(super) fn check(&mut self) -> Result<Vec<Drift>, AddressSetError> {
        let present = self.present_sizes()?;
        let mut drifts = Vec::new();
        for ((account, family), size) in &self.sizes {
            let what = match present.get(&(*account, *family)) {
                None => "is gone".to_owned(),
                Some(now) if now != size => format!("holds {now} entries instead of {size}"),
                Some(_) => continue,
            };
            let object = format!("address set {}", account.spec(*family).name);
            drifts.push(Drift { object, what });
        }
        Ok(drifts)
    }

    /// How many virtual servers are ours.
    pub(super) fn servers(&self) -> u64 {
        let sizes = self.sizes.iter();
        let servers = sizes.filter(|((account, _), _)| *account == Account::Servers);
        servers.map(|(_, size)| u64::from(*size)).sum()
    }

    /// Destroys the sets; goes on after errors.
    pub(super) fn remove(&mut self) -> Vec<AddressSetError> {
        self.sizes.clear();
        let mut errors = Vec::new();
        for family in self.families.clone() {
            let headers = match self.headers(family) {
                Ok(headers) => headers,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let ours = headers.iter().map(|header| header.spec.name.as_str());
            errors.extend(ours.filter_map(|name| self.kernel.destroy(name).err()));
        }
        errors
    }

    fn present_sizes(&mut self) -> Result<BTreeMap<(Account, Family), u32>, AddressSetError> {
        let mut sizes = BTreeMap::new();
        for family in self.families.clone() {
            let headers = self.headers(family)?;
            for account in Account::ALL {
                let name = account.spec(family).name;
                let header = headers.iter().find(|header| header.spec.name == name);
                sizes.extend(header.map(|header| ((account, family), header.entries)));
            }
        }
        Ok(sizes)
    }

    fn headers(&mut self, family: Family) -> Result<Vec<SetHeader>, AddressSetError> {
        self.kernel.headers(names::prefix(family))
    }
}

/// The same set but for its room.
fn is_too_small(held: &SetSpec, wanted: &SetSpec) -> bool {
    let alike = |spec: &SetSpec| (spec.kind, spec.family, spec.marks);
    alike(held) == alike(wanted) && held.max_entries < wanted.max_entries
}

/// The family of an entry of these sets.
fn family_of(entry: &Entry) -> Family {
    match entry {
        Entry::Ip(ip) | Entry::IpPort(ip, ..) if ip.is_ipv6() => Family::V6,
        _ => Family::V4,
    }
}
