//! Real servers that keep the connections they have, and get no new ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use sluice_kernel::ipvs::{Change, ListedDestination, RealServer};

use super::server::Server;
use super::steps::Leaving;

/// What is left of a virtual server's former pools.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The virtual server goes with the last of them.
    for_good: bool,
    /// With the time of the first look, from which the grace time counts.
    since: BTreeMap<RealServer, Option<Instant>>,
    /// Addresses, apart from its own, over which its connections come.
    pub(super) addresses: Vec<IpAddr>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Draining {
    servers: BTreeMap<Server, Rest>,
}

/// What a look at one virtual server found.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) changes: Vec<Change>,
    /// The virtual server is among what goes, and with it the need for these addresses.
    pub(super) server: Option<Vec<IpAddr>>,
}

impl Draining {
    pub(super) fn servers(&self) -> Vec<Server> {
        self.servers.keys().copied().collect()
    }

    pub(super) fn contains(&self, server: &Server) -> bool {
        self.servers.contains_key(server)
    }

    /// The real servers that one has left.
    pub(super) fn of(&self, server: &Server) -> impl Iterator<Item = RealServer> {
        let rest = self.servers.get(server);
        rest.into_iter().flat_map(|rest| rest.since.keys().copied())
    }

    /// How many real servers wait.
    pub(super) fn waiting(&self) -> usize {
        self.servers.values().map(|rest| rest.since.len()).sum()
    }

    /// Replaces what is known of one virtual server. Returns the addresses that are no longer kept for it.
    pub(super) fn put(&mut self, leaving: &Leaving) -> Vec<IpAddr> {
        let mut old = self.servers.remove(&leaving.server).unwrap_or_default();
        if leaving.destinations.is_empty() {
            return old.addresses;
        }
        let since = |key: &RealServer| old.since.get(key).copied().flatten();
        let keys = leaving.destinations.iter();
        let mut rest = Rest {
            for_good: leaving.for_good,
            since: keys.map(|key| (*key, since(key))).collect(),
            addresses: Vec::new(),
        };
        if rest.for_good {
            std::mem::swap(&mut rest.addresses, &mut old.addresses);
        }
        self.servers.insert(leaving.server, rest);
        old.addresses
    }

    /// Goes on where another account of the same real servers ends. Returns the addresses that are kept since.
    pub(super) fn carry_on(&mut self, former: &Self) -> Vec<IpAddr> {
        let mut kept = Vec::new();
        for (server, rest) in &mut self.servers {
            let Some(former) = former.servers.get(server) else {
                continue;
            };
            for (key, since) in &mut rest.since {
                *since = former.since.get(key).copied().flatten();
            }
            if rest.for_good {
                rest.addresses.extend(&former.addresses);
                kept.extend(&former.addresses);
            }
        }
        kept
    }

    /// Notes that a virtual server which goes for good needs these addresses until then. Tells whether it is so.
    pub(super) fn keep_address(&mut self, server: &Server, address: IpAddr) -> bool {
        match self.servers.get_mut(server) {
            Some(rest) if rest.for_good => {
                rest.addresses.push(address);
                true
            }
            _ => false,
        }
    }

    /// Those that go for good, and of which nobody knows over which addresses their connections come.
    pub(super) fn without_addresses(&self) -> Vec<Server> {
        let unknown = |(server, rest): &(&Server, &Rest)| {
            rest.for_good && server.address().is_none() && rest.addresses.is_empty()
        };
        let servers = self.servers.iter().filter(unknown);
        servers.map(|(server, _)| *server).collect()
    }

    /// Forgets a virtual server. Returns the addresses that were kept for it.
    pub(super) fn remove(&mut self, server: &Server) -> Vec<IpAddr> {
        let rest = self.servers.remove(server).unwrap_or_default();
        rest.addresses
    }

    /// Looks which of a virtual server's real servers have no connections any more, or had their time. `listed` is absent where
    /// the virtual server is gone.
    pub(super) fn look(
        &mut self,
        server: Server,
        listed: Option<&[ListedDestination]>,
        has_had_its_time: impl Fn(Instant) -> bool,
        now: Instant,
    ) -> Ended {
        let mut ended = Ended::default();
        let Some(rest) = self.servers.get_mut(&server) else {
            return ended;
        };
        let listed = listed.unwrap_or_default();
        let mut others = listed.len();
        rest.since.retain(|key, since| {
            let Some(found) = listed.iter().find(|l| l.destination.server == *key) else {
                return false;
            };
            let idle = found.connections.active == 0 && found.connections.inactive == 0;
            let first_look = *since.get_or_insert(now);
            let ends = idle || has_had_its_time(first_look);
            if ends {
                others -= 1;
                ended
                    .changes
                    .push(Change::DeleteDestination(server.key, *key));
            }
            !ends
        });
        if rest.since.is_empty() {
            let gone = rest.for_good && others == 0;
            let addresses = self.remove(&server);
            if gone {
                ended.changes.push(Change::DeleteService(server.key));
                ended.server = Some(addresses);
            }
        }
        ended
    }
}
