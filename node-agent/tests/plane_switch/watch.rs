//! Doors whose every call is a moment at which the agent may die, or the call may fail, and at which somebody has to serve.

use sluice_kernel::ipvs::Destination;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, ListedEntry, Mark, SetHeader, SetSpec,
};
use sluice_kernel::conntrack::{Conntrack, ConntrackError, Flow};
use sluice_kernel::iptables::{Family, Iptables, IptablesError, Listed, Stamp, Table, Variant};
use sluice_kernel::ipvs::{
    Change, Connection, Info, Ipvs, IpvsError, ListedDestination, ListedService, Refused, Timeouts,
    Traffic, VirtualServer,
};
use sluice_kernel::links::{
    InterfaceAddress, Link, LinkError, Links, RefusedObject, Route, RouteFilter,
};
use sluice_service_plan::plan::Plan;

use crate::kernel::{Kernel, State, fresh};

const EIO: i32 = 5;
const LEADS_TO_RULES: &str = "-j SLUICE-SERVICES";
const LEADS_TO_IPVS: &str = "-j SLUICE-IPVS";

/// What is to happen at which call, and what was seen so far.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    calls: usize,
    /// From this call on none gets through: the agent is dead.
    dies_at: Option<usize>,
    /// This call fails, and no other.
    fails_at: Option<usize>,
    /// What each mode looks like when it serves; nothing is demanded where it is absent.
    served: Option<[State; 2]>,
    outages: Vec<String>,
}

impl Watch {
    /// From now on somebody must serve this plan, at every call.
    pub(crate) fn demand(&self, plan: &Plan) {
        let served = [ActiveMode::IPTables, ActiveMode::IPVS].map(|mode| fresh(mode, plan));
        let mut seen = self.0.lock().unwrap();
        *seen = Seen {
            served: Some(served),
            ..Seen::default()
        };
    }

    /// The agent dies at this call from now.
    pub(crate) fn die_at(&self, call: usize) {
        let mut seen = self.0.lock().unwrap();
        seen.dies_at = Some(seen.calls + call);
    }

    /// This call from now fails.
    pub(crate) fn fail_at(&self, call: usize) {
        let mut seen = self.0.lock().unwrap();
        seen.fails_at = Some(seen.calls + call);
    }

    /// Another agent starts, and nothing fails any more.
    pub(crate) fn live(&self) {
        let mut seen = self.0.lock().unwrap();
        (seen.dies_at, seen.fails_at) = (None, None);
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// Moments at which nobody served.
    pub(crate) fn outages(&self) -> Vec<String> {
        self.0.lock().unwrap().outages.clone()
    }

    /// Nothing is demanded until the next time.
    pub(crate) fn relax(&self) {
        self.0.lock().unwrap().served = None;
    }

    /// To be called before every call; false where it must not get through. A question changes nothing, so nobody looks.
    fn pass(&self, kernel: &Kernel, is_question: bool) -> bool {
        let mut seen = self.0.lock().unwrap();
        let call = seen.calls;
        seen.calls += 1;
        if let Some(served) = &seen.served
            && !is_question
        {
            let now = kernel.state();
            let out = ["4", "6"]
                .into_iter()
                .filter_map(|family| outage(family, &now, served));
            let out: Vec<String> = out.map(|why| format!("at call {call}: {why}")).collect();
            seen.outages.extend(out);
        }
        let alive = seen.dies_at.is_none_or(|dies| call < dies);
        alive && seen.fails_at != Some(call)
    }
}

/// Why nobody serves a family; nothing where somebody does.
fn outage(family: &'static str, now: &State, [by_rules, by_ipvs]: &[State; 2]) -> Option<String> {
    let first = |chain: &str| {
        let rules = now
            .chains
            .get(&(family, "nat".to_owned(), chain.to_owned()))?;
        let jump = |rule: &&String| rule.ends_with(LEADS_TO_RULES) || rule.ends_with(LEADS_TO_IPVS);
        rules
            .iter()
            .find(jump)
            .map(|rule| rule.ends_with(LEADS_TO_IPVS))
    };
    for chain in ["PREROUTING", "OUTPUT"] {
        let lacks = match first(chain) {
            None => Some("no jump leads anywhere".to_owned()),
            Some(false) => lacks_of_rules(family, now, by_rules),
            Some(true) => lacks_of_ipvs(now, by_ipvs),
        };
        if let Some(what) = lacks {
            return Some(format!("IPv{family} {chain}: {what}"));
        }
    }
    None
}

fn lacks_of_rules(family: &str, now: &State, served: &State) -> Option<String> {
    let chains = served.chains.iter().filter(|((of, table, chain), _)| {
        *of == family && table == "nat" && chain.starts_with("SLUICE-")
    });
    // Chains of the glue change with the part that IPVS has.
    let of_glue = [
        "SLUICE-MARK",
        "SLUICE-POSTROUTING",
        "SLUICE-SNAT",
        "SLUICE-IPVS",
    ];
    let of_balancer = |chain: &str| !of_glue.iter().any(|start| chain.starts_with(start));
    let mut balancer = chains.filter(|((_, _, chain), _)| of_balancer(chain));
    let differing = balancer.find(|(key, rules)| now.chains.get(*key) != Some(rules));
    differing.map(|((_, _, chain), _)| format!("chain {chain} is not whole"))
}

fn lacks_of_ipvs(now: &State, served: &State) -> Option<String> {
    // One that left may keep connections still.
    let is_whole = |key, (how, wanted): &(String, Vec<Destination>)| {
        now.servers.get(key).is_some_and(|(present, held)| {
            let mut serving = held.iter().filter(|one| one.weight > 0);
            present == how
                && wanted.iter().all(|one| held.contains(one))
                && serving.all(|one| wanted.contains(one))
        })
    };
    let mut servers = served.servers.iter();
    if let Some((server, _)) = servers.find(|(key, wanted)| !is_whole(*key, wanted)) {
        return Some(format!("virtual server {server} is not whole"));
    }
    if let Some(bound) = served
        .bound
        .iter()
        .find(|bound| !now.bound.contains(*bound))
    {
        return Some(format!("{bound} is not there"));
    }
    let mut sets = served.sets.iter().filter(|(name, _)| name.contains("-V-"));
    let lacking = sets.find(|(name, entries)| {
        now.sets
            .get(*name)
            .is_none_or(|held: &BTreeSet<String>| !held.is_superset(entries))
    });
    lacking.map(|(name, _)| format!("set {name} lacks entries"))
}

/// A door, watched.
pub(crate) struct Watched<D> {
    door: D,
    kernel: Kernel,
}

impl<D> Watched<D> {
    pub(crate) fn new(door: D, kernel: Kernel) -> Self {
        Self { door, kernel }
    }

    fn pass<E>(&self, error: impl FnOnce() -> E) -> Result<(), E> {
        let passes = self.kernel.watch.pass(&self.kernel, false);
        passes.then_some(()).ok_or_else(error)
    }

    fn ask<E>(&self, error: impl FnOnce() -> E) -> Result<(), E> {
        let passes = self.kernel.watch.pass(&self.kernel, true);
        passes.then_some(()).ok_or_else(error)
    }
}

fn iptables_error() -> IptablesError {
    IptablesError::TimedOut {
        program: "iptables-restore".to_owned(),
        seconds: 1,
    }
}

impl<D: Iptables> Iptables for Watched<D> {
    fn variant(&self) -> Variant {
        self.door.variant()
    }

    /// Tables are committed one by one: each is a moment.
    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        for table in input.split_inclusive("COMMIT\n") {
            self.pass(iptables_error)?;
            self.door.restore(family, table)?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        self.ask(iptables_error)?;
        self.door.list(family, table, on_item)
    }

    fn stamp(&mut self) -> Option<Stamp> {
        self.door.stamp()
    }

    fn programs_started(&self) -> u64 {
        self.door.programs_started()
    }

    fn bytes_written(&self) -> u64 {
        self.door.bytes_written()
    }
}

fn set_error() -> AddressSetError {
    AddressSetError::Full {
        name: "S".to_owned(),
        entry: None,
    }
}

impl<D: AddressSets> AddressSets for Watched<D> {
    fn create(&mut self, spec: &SetSpec) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.create(spec)
    }

    fn destroy(&mut self, name: &str) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        if self.kernel.references(name) > 0 {
            return Err(AddressSetError::InUse {
                name: name.to_owned(),
            });
        }
        self.door.destroy(name)
    }

    fn add(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.add(set, entries)
    }

    fn add_with_timeout(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, u32)],
    ) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.add_with_timeout(set, entries)
    }

    fn add_marked(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, Mark)],
    ) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.add_marked(set, entries)
    }

    fn delete(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.delete(set, entries)
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), AddressSetError> {
        self.pass(set_error)?;
        self.door.swap(one, other)
    }

    fn headers(&mut self, prefix: &str) -> Result<Vec<SetHeader>, AddressSetError> {
        self.ask(set_error)?;
        let mut headers = self.door.headers(prefix)?;
        for header in &mut headers {
            header.references = self.kernel.references(&header.spec.name);
        }
        Ok(headers)
    }

    fn list(&mut self, name: &str) -> Result<Vec<ListedEntry>, AddressSetError> {
        self.ask(set_error)?;
        self.door.list(name)
    }
}

fn ipvs_error() -> IpvsError {
    IpvsError::Kernel {
        operation: "a planned failure",
        code: EIO,
    }
}

impl<D: Ipvs> Ipvs for Watched<D> {
    fn services(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        self.ask(ipvs_error)?;
        self.door.services()
    }

    fn destinations(&mut self, of: &VirtualServer) -> Result<Vec<ListedDestination>, IpvsError> {
        self.ask(ipvs_error)?;
        self.door.destinations(of)
    }

    /// Every change is a moment.
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError> {
        let mut refused = Vec::new();
        for (position, change) in changes.iter().enumerate() {
            self.pass(ipvs_error)?;
            for mut one in self.door.apply(std::slice::from_ref(change))? {
                one.position = position;
                refused.push(one);
            }
        }
        Ok(refused)
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        self.ask(ipvs_error)?;
        self.door.timeouts()
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError> {
        self.pass(ipvs_error)?;
        self.door.set_timeouts(timeouts)
    }

    fn info(&mut self) -> Result<Info, IpvsError> {
        self.door.info()
    }

    fn connections(&mut self, visit: &mut dyn FnMut(&Connection)) -> Result<(), IpvsError> {
        self.door.connections(visit)
    }

    fn traffic(&self) -> Traffic {
        self.door.traffic()
    }
}

fn link_error() -> LinkError {
    LinkError::Kernel {
        operation: "a planned failure".to_owned(),
        code: EIO,
    }
}

impl<D: Links> Links for Watched<D> {
    fn links(&mut self) -> Result<Vec<Link>, LinkError> {
        self.ask(link_error)?;
        self.door.links()
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, LinkError> {
        self.ask(link_error)?;
        self.door.addresses()
    }

    fn addresses_of(&mut self, interface: u32) -> Result<Vec<InterfaceAddress>, LinkError> {
        self.ask(link_error)?;
        self.door.addresses_of(interface)
    }

    fn routes_of(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, LinkError> {
        self.ask(link_error)?;
        self.door.routes_of(filter)
    }

    fn add_dummy(&mut self, name: &str) -> Result<u32, LinkError> {
        self.pass(link_error)?;
        self.door.add_dummy(name)
    }

    fn delete_link(&mut self, interface: u32) -> Result<bool, LinkError> {
        self.pass(link_error)?;
        self.door.delete_link(interface)
    }

    fn set_hairpin(&mut self, interface: u32, on: bool) -> Result<(), LinkError> {
        self.pass(link_error)?;
        self.door.set_hairpin(interface, on)
    }

    fn set_up(&mut self, interface: u32, up: bool) -> Result<(), LinkError> {
        self.pass(link_error)?;
        self.door.set_up(interface, up)
    }

    fn add_address(&mut self, address: &InterfaceAddress) -> Result<(), LinkError> {
        self.pass(link_error)?;
        self.door.add_address(address)
    }

    fn delete_address(&mut self, address: &InterfaceAddress) -> Result<bool, LinkError> {
        self.pass(link_error)?;
        self.door.delete_address(address)
    }

    fn add_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        self.pass(link_error)?;
        self.door.add_addresses(addresses)
    }

    fn delete_addresses(
        &mut self,
        addresses: &[InterfaceAddress],
    ) -> Result<Vec<RefusedObject>, LinkError> {
        self.pass(link_error)?;
        self.door.delete_addresses(addresses)
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), LinkError> {
        self.pass(link_error)?;
        self.door.replace_route(route)
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, LinkError> {
        self.pass(link_error)?;
        self.door.delete_route(route)
    }

    fn add_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        self.pass(link_error)?;
        self.door.add_routes(routes)
    }

    fn delete_routes(&mut self, routes: &[Route]) -> Result<Vec<RefusedObject>, LinkError> {
        self.pass(link_error)?;
        self.door.delete_routes(routes)
    }
}

fn conntrack_error() -> ConntrackError {
    ConntrackError::Kernel {
        operation: "a planned failure",
        code: EIO,
    }
}

impl<D: Conntrack> Conntrack for Watched<D> {
    fn list(&mut self, family: Family, visit: &mut dyn FnMut(&Flow)) -> Result<(), ConntrackError> {
        self.ask(conntrack_error)?;
        self.door.list(family, visit)
    }

    fn delete(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        self.pass(conntrack_error)?;
        self.door.delete(flows)
    }
}
