//! From what the kernel holds to what it has to hold, in an order that is right after every step. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_kernel::address_set::Entry;
use sluice_kernel::ipvs::{Change, Destination, RealServer, Service, VirtualServer};

use super::desired::Wanted;
use super::server::Server;
use crate::data_plane::Drift;

/// A virtual server in the kernel.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// How it balances, as far as that is known.
    pub(super) service: Option<Service>,
    pub(super) destinations: BTreeMap<RealServer, Destination>,
}

/// Real servers that keep connections only.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) server: Server,
    /// The virtual server goes with the last of them.
    pub(super) for_good: bool,
    pub(super) destinations: BTreeSet<RealServer>,
}

/// The address of a frontend.
pub(super) fn address(entry: &Entry) -> Option<IpAddr> {
    match entry {
        Entry::IpPort(ip, ..) => Some(*ip),
        _ => None,
    }
}

/// What to write, each list in one go, in this order.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Virtual servers that come: the ledger has them before the kernel.
    pub(super) created: Vec<Server>,
    /// Those that were kube-proxy's: the same.
    pub(super) taken_over: Vec<Server>,
    /// New ones, and new ways to balance.
    pub(super) services: Vec<Change>,
    /// New real servers and weights.
    pub(super) arrivals: Vec<Change>,
    /// Addresses that what is there already needs, once for each, where nobody counts it yet.
    pub(super) claims: Vec<IpAddr>,
    /// Frontends that lead inside clients to a mark from now on.
    pub(super) marked: Vec<(Entry, u32)>,
    /// Those that lead them to another mark.
    pub(super) remarked: Vec<(Entry, u32)>,
    /// Those that do no longer.
    pub(super) unmarked: Vec<(Entry, u32)>,
    /// Real servers that get weight 0, and what is deleted.
    pub(super) departures: Vec<Change>,
    /// Of each virtual server that was looked at, what keeps connections only; mostly nothing.
    pub(super) leaving: Vec<Leaving>,
    /// Virtual servers that went: the ledger has them no longer.
    pub(super) deleted: Vec<Server>,
    /// The same, where nobody counts that they need their addresses.
    pub(super) struck: Vec<Server>,
}

impl Steps {
    /// One virtual server's way to what it has to be.
    pub(super) fn put(&mut self, server: Server, wanted: Option<&Wanted>, held: Option<&Held>) {
        match (wanted, held) {
            (None, None) => {}
            (Some(wanted), None) => {
                self.created.push(server);
                self.services
                    .push(Change::NewService(wanted.service.clone()));
                let destinations = wanted.destinations();
                self.arrivals
                    .extend(destinations.map(|new| Change::NewDestination(server.key, new)));
            }
            (Some(wanted), Some(held)) => {
                if held.service.as_ref() != Some(&wanted.service) {
                    self.services
                        .push(Change::SetService(wanted.service.clone()));
                }
                let mut rest = held.destinations.clone();
                for new in wanted.destinations() {
                    match rest.remove(&new.server) {
                        None => self.arrivals.push(Change::NewDestination(server.key, new)),
                        Some(old) if old != new => {
                            self.arrivals.push(Change::SetDestination(server.key, new));
                        }
                        Some(_) => {}
                    }
                }
                self.take_leave(server, false, rest);
            }
            (None, Some(held)) if server.lets_end() && !held.destinations.is_empty() => {
                self.take_leave(server, true, held.destinations.clone());
            }
            (None, Some(_)) => {
                self.departures.push(Change::DeleteService(server.key));
                self.deleted.push(server);
                self.take_leave(server, true, BTreeMap::new());
            }
        }
    }

    /// A virtual server of kube-proxy's is ours, and its way to what it has to be.
    pub(super) fn take_over(&mut self, server: Server, wanted: &Wanted, held: &Held) {
        self.taken_over.push(server);
        self.put(server, Some(wanted), Some(held));
    }

    /// The frontends' way from some marks to others.
    pub(super) fn put_marks(&mut self, wanted: &BTreeMap<Entry, u32>, held: &BTreeMap<Entry, u32>) {
        for (entry, mark) in wanted {
            match held.get(entry) {
                Some(old) if old == mark => {}
                Some(_) => self.remarked.push((*entry, *mark)),
                None => self.marked.push((*entry, *mark)),
            }
        }
        let gone = held.iter().filter(|(entry, _)| !wanted.contains_key(entry));
        self.unmarked
            .extend(gone.map(|(entry, mark)| (*entry, *mark)));
    }

    fn take_leave(
        &mut self,
        server: Server,
        for_good: bool,
        destinations: BTreeMap<RealServer, Destination>,
    ) {
        let mut leaving = Leaving {
            server,
            for_good,
            destinations: BTreeSet::new(),
        };
        for (key, destination) in destinations {
            if !server.lets_end() {
                self.departures
                    .push(Change::DeleteDestination(server.key, key));
                continue;
            }
            leaving.destinations.insert(key);
            if destination.weight != 0 {
                let quiet = Destination {
                    weight: 0,
                    ..destination
                };
                self.departures
                    .push(Change::SetDestination(server.key, quiet));
            }
        }
        self.leaving.push(leaving);
    }

    /// Takes out all that would serve new connections.
    pub(super) fn only_departures(&mut self) {
        self.created.clear();
        self.services.clear();
        self.arrivals.clear();
        self.marked.clear();
        self.remarked.clear();
    }

    /// Takes out what is about virtual servers that are another's.
    pub(super) fn leave_alone(&mut self, servers: &BTreeSet<Server>) {
        let concerned = |change: &Change| servers.iter().any(|s| s.key == change.virtual_server());
        self.arrivals.retain(|change| !concerned(change));
        self.created.retain(|server| !servers.contains(server));
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        let changes = self.services.len() + self.arrivals.len() + self.departures.len();
        changes + self.claims.len() + self.taken_over.len()
    }

    /// The addresses that the virtual servers and marked frontends here need, what leaves for good included.
    pub(super) fn needed_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let new = self.created.iter().chain(&self.taken_over);
        let new = new.filter_map(Server::address);
        let marked = self.marked.iter().filter_map(|(entry, _)| address(entry));
        self.claims.iter().copied().chain(new).chain(marked)
    }

    /// What is not so in the kernel as it has to be, where these steps were to be taken.
    pub(super) fn into_drifts(self) -> Vec<Drift> {
        let changes = [self.services, self.arrivals, self.departures];
        let servers = changes.into_iter().flatten().map(|change| Drift {
            object: format!("virtual server {}", change.virtual_server()),
            what: format!("is not as programmed: {change}"),
        });
        let taken_over = self.taken_over.into_iter();
        let taken_over = taken_over.map(|server| to_be_taken_over(&server.key));
        let struck = self.struck.into_iter().map(|server| Drift {
            object: format!("virtual server {}", server.key),
            what: "is gone or needed by nobody, and in our ledger".to_owned(),
        });
        let marks = self.marked.into_iter().chain(self.remarked);
        let marks = marks.map(|(entry, _)| (entry, "lacks its mark"));
        let unmarked = self.unmarked.into_iter();
        let unmarked = unmarked.map(|(entry, _)| (entry, "has a mark that nobody needs"));
        let frontends = marks.chain(unmarked).map(|(entry, what)| Drift {
            object: format!("frontend {entry:?}"),
            what: what.to_owned(),
        });
        servers
            .chain(taken_over)
            .chain(struck)
            .chain(frontends)
            .collect()
    }
}

/// One of kube-proxy's on a frontend of ours.
pub(super) fn to_be_taken_over(server: &VirtualServer) -> Drift {
    Drift {
        object: format!("virtual server {server}"),
        what: "is kube-proxy's, and to be taken over".to_owned(),
    }
}
