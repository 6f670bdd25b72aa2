//! Service addresses as addresses of this node: which ones have to be, and how they come to be.
//!
//! IPVS sees only packets that are delivered to the node itself. The node's own addresses are so anyway.
//!
//! The node's own packets to a service get their source from a route of ours in both bindings. Without it they would have the service's
//! address, and a socket that has it for its own breaks when the address goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use sluice_kernel::links::{LinkError, Links, RouteNotice};
use sluice_service_plan::model::{Family, NodeFacts, VipBinding};
use sluice_service_plan::plan::{FrontendAddress, ServicePlan};

use super::device::{Bound, Device, Source};
use super::ledger::Holdings;
use super::server::Server;
use super::steps::address;
use crate::data_plane::Drift;
use crate::kube_proxy::Claims;

const NOT_BOUND: &str = "is not bound";

/// One address.
#[derive(Debug, Clone, Copy, Default)]
struct Vip {
    /// How many virtual servers and marked frontends need it.
    needed_by: u32,
    /// It is in the ledger.
    noted: bool,
    /// Its route of ours is there, with this source.
    route: Option<Source>,
    /// It is an address of the device, by our hand.
    on_device: bool,
    /// There the kernel's route comes before ours.
    shadowed: bool,
}

/// All of them.
pub(super) struct Vips {
    device: Device,
    binding: VipBinding,
    own: HashSet<IpAddr>,
    /// Source of the node's own packets to them.
    sources: BTreeMap<Family, IpAddr>,
    known: HashMap<IpAddr, Vip>,
    /// How many frontends of the plan have which address. The rest of what needs one are node ports: on an address that the node no
    /// longer holds they would take what is another node's now.
    frontends: HashMap<IpAddr, u32>,
    /// Those to be looked at.
    touched: BTreeSet<IpAddr>,
    /// On our device by another's hand.
    foreign: HashSet<IpAddr>,
    refused: BTreeMap<IpAddr, String>,
}

impl Vips {
    pub(super) fn new(links: Box<dyn Links>) -> Self {
        Self {
            device: Device::new(links),
            binding: VipBinding::default(),
            own: HashSet::new(),
            sources: BTreeMap::new(),
            known: HashMap::new(),
            frontends: HashMap::new(),
            touched: BTreeSet::new(),
            foreign: HashSet::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Makes the device, and takes it up.
    pub(super) fn open(&mut self) -> Result<(), LinkError> {
        self.device.open()
    }

    /// Forgets who needs which address, and reads which are bound. `ours` are those that we may have bound. Of kube-proxy's we take over
    /// what we need (with `Dummy`), and leave alone the rest.
    pub(super) fn restart(
        &mut self,
        ours: &HashSet<IpAddr>,
        claims: &Claims,
        node: &NodeFacts,
        binding: VipBinding,
    ) -> Result<(), LinkError> {
        self.binding = binding;
        self.own = node.addresses.iter().copied().collect();
        self.sources = sources(node);
        self.known.clear();
        self.frontends.clear();
        self.touched.clear();
        self.refused.clear();
        let found = self.device.read()?;
        let others = found.addresses.difference(ours);
        self.foreign = others
            .filter(|ip| !claims.name_address(ip))
            .copied()
            .collect();
        // What is in the ledger only was to be bound, or is gone: it is looked at like the others.
        for ip in ours.iter().chain(found.routes.keys()) {
            let noted = ours.contains(ip);
            let by_kube_proxy = found.is_by_kube_proxy(ip, claims);
            let vip = Vip {
                needed_by: 0,
                noted,
                route: found.routes.get(ip).copied(),
                on_device: noted && found.addresses.contains(ip) && !by_kube_proxy,
                shadowed: noted && found.shadowed.contains(ip),
            };
            self.known.insert(*ip, vip);
        }
        Ok(())
    }

    /// Takes up what another run of the agent left, without a plan: nothing will be bound, only let go.
    pub(super) fn resume(&mut self, holdings: &Holdings, claims: &Claims) -> Result<(), LinkError> {
        let binding = self.device.binding(&holdings.addresses, claims)?;
        self.restart(&holdings.addresses, claims, &NodeFacts::default(), binding)?;
        let servers = holdings.servers.iter().filter_map(Server::address);
        servers
            .chain(holdings.inside.keys().filter_map(address))
            .for_each(|ip| self.claim(ip));
        self.touched.clear();
        Ok(())
    }

    /// One more needs it.
    pub(super) fn claim(&mut self, ip: IpAddr) {
        self.known.entry(ip).or_default().needed_by += 1;
        self.touched.insert(ip);
    }

    /// One less needs it.
    pub(super) fn release(&mut self, ip: IpAddr) {
        let vip = self.known.entry(ip).or_default();
        vip.needed_by = vip.needed_by.saturating_sub(1);
        self.touched.insert(ip);
    }

    /// These services are served from now on.
    pub(super) fn serve<'a>(&mut self, services: impl IntoIterator<Item = &'a ServicePlan>) {
        for ip in services.into_iter().flat_map(own_addresses) {
            *self.frontends.entry(ip).or_default() += 1;
            self.touched.insert(ip);
        }
    }

    /// These no longer are.
    pub(super) fn cease<'a>(&mut self, services: impl IntoIterator<Item = &'a ServicePlan>) {
        for ip in services.into_iter().flat_map(own_addresses) {
            if let Some(frontends) = self.frontends.get_mut(&ip) {
                *frontends -= 1;
                if *frontends == 0 {
                    self.frontends.remove(&ip);
                }
            }
        }
    }

    /// Packets to a virtual server are delivered to this node. Where they are not, no connection of it can go on, and it is in the way of the
    /// node's own clients, who look for the address elsewhere.
    pub(super) fn is_reached(&self, server: &Server) -> bool {
        server.address().is_none_or(|ip| {
            self.own.contains(&ip) || self.foreign.contains(&ip) || self.is_to_be_bound(&ip)
        })
    }

    /// Addresses that are bound, or were to be, and that no service needs for new connections.
    pub(super) fn only_kept(&self) -> Vec<IpAddr> {
        let only_kept =
            |(ip, vip): &(&IpAddr, &Vip)| vip.needed_by == 0 || !self.frontends.contains_key(*ip);
        let known = self.known.iter().filter(only_kept);
        known.map(|(ip, _)| *ip).collect()
    }

    /// Addresses that are in the ledger, or should be.
    pub(super) fn noted(&self) -> Vec<IpAddr> {
        let noted = self.known.iter().filter(|(_, vip)| vip.noted);
        noted.map(|(ip, _)| *ip).collect()
    }

    /// Looks at every address again.
    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.known.keys());
    }

    /// Follows the node's own addresses.
    pub(super) fn follow(&mut self, node: &NodeFacts) {
        let own: HashSet<IpAddr> = node.addresses.iter().copied().collect();
        let changed = own.symmetric_difference(&self.own);
        self.touched
            .extend(changed.filter(|ip| self.known.contains_key(*ip)));
        self.own = own;
        let former = std::mem::replace(&mut self.sources, sources(node));
        if former != self.sources {
            self.touch_all();
        }
    }

    /// Ends what another run of the agent left half done, once everything is bound.
    pub(super) fn finish_restart(&mut self) -> Result<(), LinkError> {
        self.device.delete_detours()
    }

    /// The addresses to be bound now, and not bound yet.
    pub(super) fn to_bind(&self) -> Vec<IpAddr> {
        let unbound = |ip: &&IpAddr| {
            let vip = self.known.get(*ip).copied().unwrap_or_default();
            self.is_wanted(ip) && !self.is_bound(ip, vip)
        };
        self.touched.iter().filter(unbound).copied().collect()
    }

    /// Those of them that are not in the ledger yet, where they are from now on.
    pub(super) fn note(&mut self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let mut new = Vec::new();
        for ip in addresses {
            let vip = self.known.entry(*ip).or_default();
            if !std::mem::replace(&mut vip.noted, true) {
                new.push(*ip);
            }
        }
        new
    }

    /// Binds addresses, and tells how many. One that the kernel does not take is told as a condition; the others serve.
    pub(super) fn bind(&mut self, addresses: &[IpAddr]) -> Result<u64, LinkError> {
        let on_device = self.binding == VipBinding::Dummy;
        let mut no_address = BTreeMap::new();
        if on_device {
            no_address = for_themselves(self.device.add_addresses(addresses)?)?;
        }
        let with_source: Vec<(IpAddr, Source)> =
            addresses.iter().map(|ip| (*ip, self.source(ip))).collect();
        let no_route = for_themselves(self.device.add_routes(&with_source)?)?;
        if on_device {
            self.device.delete_shadows(addresses)?;
        }
        for (ip, source) in with_source {
            self.refused.remove(&ip);
            let vip = self.known.entry(ip).or_default();
            // In place of one that is refused, the former is still there.
            if !no_route.contains_key(&ip) {
                vip.route = Some(source);
            }
            vip.on_device |= on_device && !no_address.contains_key(&ip);
            vip.shadowed = false;
        }
        let refused: BTreeMap<IpAddr, String> = no_address.into_iter().chain(no_route).collect();
        let bound = addresses.len() - refused.len();
        self.refused.extend(refused);
        Ok(bound as u64)
    }

    /// Looks again at what the kernel did not take: a source may have become the node's since.
    pub(super) fn touch_refused(&mut self) {
        self.touched.extend(self.refused.keys());
    }

    /// Unbinds what nobody needs any more, and what is bound another way than the settings say. Returns the addresses that leave
    /// the ledger, and how many were unbound.
    pub(super) fn unbind(&mut self) -> Result<(Vec<IpAddr>, u64), LinkError> {
        let mut routes = Vec::new();
        let mut addresses = Vec::new();
        let mut noted = Vec::new();
        for ip in std::mem::take(&mut self.touched) {
            let is_wanted = self.is_wanted(&ip);
            let Some(vip) = self.known.get_mut(&ip) else {
                continue;
            };
            if vip.on_device && !(is_wanted && self.binding == VipBinding::Dummy) {
                vip.on_device = false;
                addresses.push(ip);
            }
            if is_wanted {
                continue;
            }
            routes.extend(vip.route.take().map(|_| ip));
            if std::mem::take(&mut vip.noted) {
                noted.push(ip);
            }
            self.refused.remove(&ip);
            // One that is the node's own, or another's, may have to be bound when it is so no longer.
            if vip.needed_by == 0 {
                self.known.remove(&ip);
            }
        }
        self.device.delete_routes(&routes)?;
        match self.binding {
            VipBinding::LocalRoute if !addresses.is_empty() => {
                self.device.leave_routes_only(&addresses, &self.routed())?;
            }
            VipBinding::LocalRoute => {}
            VipBinding::Dummy => self.device.delete_addresses(&addresses)?,
        }
        routes.retain(|ip| !addresses.contains(ip));
        Ok((noted, (routes.len() + addresses.len()) as u64))
    }

    /// Compares what the kernel holds with `needed`. `ours` are those in the ledger.
    pub(super) fn verify(
        &mut self,
        needed: &HashSet<IpAddr>,
        ours: &HashSet<IpAddr>,
    ) -> Result<Vec<Drift>, LinkError> {
        let found = self.device.read()?;
        let mut drifts = Vec::new();
        let wanted: HashSet<&IpAddr> = needed
            .iter()
            .filter(|ip| self.is_to_be_bound(ip) && !self.refused.contains_key(*ip))
            .collect();
        for ip in &wanted {
            let routed = found.routes.get(*ip) == Some(&self.source(ip));
            if !routed || !self.is_as_addresses_are(ip, &found) {
                drifts.push(drift(ip, NOT_BOUND));
            } else if !ours.contains(*ip) {
                drifts.push(drift(ip, "is not in our ledger"));
            }
        }
        for ip in ours {
            if !wanted.contains(ip) && self.known.get(ip).is_none_or(|vip| vip.needed_by == 0) {
                drifts.push(drift(ip, "is in our ledger, and needed by nothing"));
            }
        }
        Ok(drifts)
    }

    /// Whether the device is there and up.
    pub(super) fn check(&mut self) -> Result<Vec<Drift>, LinkError> {
        self.device.check()
    }

    /// What is said to be lost is thought to be there: our device, or the route of a bound address.
    pub(super) fn needs(&self, lost: &RouteNotice) -> bool {
        match lost {
            RouteNotice::LinkDown(link) | RouteNotice::LinkGone(link) => self.device.is(*link),
            RouteNotice::RouteGone(route) => {
                let vip = self.known.get(&route.destination.addr());
                vip.is_some_and(|vip| vip.route.is_some())
            }
            RouteNotice::Overrun => true,
        }
    }

    /// What was bound and is so no longer.
    pub(super) fn lost(&mut self) -> Result<Vec<Drift>, LinkError> {
        let found = self.device.read()?;
        let is_lost = |(ip, vip): &(&IpAddr, &Vip)| {
            let is_there = found.routes.contains_key(*ip) && self.is_as_addresses_are(ip, &found);
            vip.route.is_some() && !is_there
        };
        let lost = self.known.iter().filter(is_lost);
        Ok(lost.map(|(ip, _)| drift(ip, NOT_BOUND)).collect())
    }

    /// What is not as the services want it.
    pub(super) fn conditions(&self) -> impl Iterator<Item = String> {
        let refused = self.refused.iter().map(|(ip, error)| {
            format!("service address {ip} is not bound, so clients do not reach it: {error}")
        });
        let shared = self
            .foreign
            .iter()
            .filter(|ip| self.binding == VipBinding::Dummy && self.known.contains_key(*ip));
        let shared: BTreeSet<&IpAddr> = shared.collect();
        refused.chain(shared.into_iter().map(|ip| {
            format!(
                "service address {ip} is on the device by another program's hand: it is left so"
            )
        }))
    }

    /// Unbinds all of these but kube-proxy's, and deletes the device unless others use it; goes on after errors.
    pub(super) fn remove(&mut self, ours: &HashSet<IpAddr>, claims: &Claims) -> Vec<LinkError> {
        self.known.clear();
        self.touched.clear();
        self.device.remove(ours, claims)
    }

    /// The node's own addresses, as the kernel has them.
    pub(super) fn read_own(&mut self) -> Result<HashSet<IpAddr>, LinkError> {
        self.device.read_own()
    }

    fn routed(&self) -> Vec<(IpAddr, Source)> {
        let known = self.known.iter();
        known
            .filter_map(|(ip, vip)| Some((*ip, vip.route?)))
            .collect()
    }

    fn is_wanted(&self, ip: &IpAddr) -> bool {
        self.is_to_be_bound(ip) && self.known.get(ip).is_some_and(|vip| vip.needed_by > 0)
    }

    /// It is ours to bind, should it be needed. What was bound for a frontend is kept for its last connections.
    fn is_to_be_bound(&self, ip: &IpAddr) -> bool {
        let others =
            self.own.contains(ip) || self.binding == VipBinding::Dummy && self.foreign.contains(ip);
        let is_bound = || self.known.get(ip).is_some_and(|vip| vip.noted);
        !others && (self.frontends.contains_key(ip) || is_bound())
    }

    /// It is bound in the way of the settings.
    fn is_bound(&self, ip: &IpAddr, vip: Vip) -> bool {
        let is_address = vip.on_device && !vip.shadowed;
        vip.route == Some(self.source(ip))
            && (is_address || self.binding == VipBinding::LocalRoute)
            && !self.refused.contains_key(ip)
    }

    /// It is an address of the device, with no route but ours, where the settings want that.
    fn is_as_addresses_are(&self, ip: &IpAddr, found: &Bound) -> bool {
        let is_address = found.addresses.contains(ip) && !found.shadowed.contains(ip);
        is_address || self.binding == VipBinding::LocalRoute
    }

    /// The source that it is to be bound with.
    fn source(&self, ip: &IpAddr) -> Source {
        Source(self.sources.get(&Family::of(*ip)).copied())
    }
}

fn drift(ip: &IpAddr, what: &str) -> Drift {
    Drift {
        object: format!("service address {ip}"),
        what: what.to_owned(),
    }
}

/// Refusals that are about one address each, and not about the device or the agent.
fn for_themselves(
    refused: Vec<(IpAddr, LinkError)>,
) -> Result<BTreeMap<IpAddr, String>, LinkError> {
    let each = refused.into_iter().map(|(ip, error)| match error {
        LinkError::NoSuchInterface { .. } | LinkError::NotPermitted { .. } => Err(error),
        _ => Ok((ip, error.to_string())),
    });
    each.collect()
}

/// The addresses of a service's frontends, node ports apart, as often as there are frontends.
fn own_addresses(service: &ServicePlan) -> impl Iterator<Item = IpAddr> {
    let frontends = service.ports.iter().flat_map(|port| &port.frontends);
    frontends.filter_map(|frontend| match frontend.address {
        FrontendAddress::Ip(ip) => Some(ip),
        FrontendAddress::NodePort => None,
    })
}

/// Of each family the first internal IP that the node holds, else its first address that others can answer.
fn sources(node: &NodeFacts) -> BTreeMap<Family, IpAddr> {
    let answerable = |ip: &&IpAddr| {
        !ip.is_loopback()
            && match ip {
                IpAddr::V4(ip) => !ip.is_link_local(),
                IpAddr::V6(ip) => !ip.is_unicast_link_local(),
            }
    };
    let source = |family| {
        let held = |ip: &&IpAddr| Family::of(**ip) == family && node.addresses.contains(ip);
        let internal = node.internal_ips.iter().find(held);
        let other = || node.addresses.iter().filter(held).find(answerable);
        internal.or_else(other).copied()
    };
    Family::ALL
        .into_iter()
        .filter_map(|family| Some((family, source(family)?)))
        .collect()
}
