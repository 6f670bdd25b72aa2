//! Addresses and routes of the node, followed as they come and go.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sluice_kernel::links::{
    AddressEvents, LinkError, Links, NetlinkLinks, Route, RouteFilter, named,
};

use super::inbox::{Batch, Inbox};
use crate::balancer::ipvs::names::DEVICE;
use crate::family::is_link_local;
use crate::metrics::Metrics;

/// A pod's start makes several events in a row; they are looked at once.
const SETTLE: Duration = Duration::from_millis(50);
/// Routes alone make no event, so all is looked at from time to time.
const LOOK: Duration = Duration::from_secs(60);
/// Rest after netlink failed.
const RETRY: Duration = Duration::from_secs(1);
/// After a look, rest so many times as long as it took: addresses that IPVS binds make events too, and are listed each time.
const REST: u32 = 10;
/// But no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;

/// What of the node's network decides plans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeNetwork {
    /// Addresses of all interfaces, loopback included; sorted.
    pub addresses: Vec<IpAddr>,
    /// Destinations of routes that lead to an interface without a gateway; sorted.
    pub routes: Vec<IpNet>,
}

impl NodeNetwork {
    /// Reads it from the kernel.
    pub fn read(links: Box<dyn Links>) -> Result<Self, LinkError> {
        Reader::new(links).read(Routes::All)
    }

    /// Whether it has other addresses than before, but for link-local ones: every pod's start brings one, which is nothing to tell people.
    fn has_moved(&self, before: &Self) -> bool {
        let told = |ip: &&IpAddr| !is_link_local(ip);
        let now = self.addresses.iter().filter(told);
        now.ne(before.addresses.iter().filter(told))
    }
}

/// Which routes to list. IPVS may have a route to each address of a service in table local: too many for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Routes {
    All,
    /// Those of table main, which pods' routes are in as a rule; the others are taken to be as they were.
    Main,
}

/// Reads the node's network from the kernel.
struct Reader {
    links: Box<dyn Links>,
    /// Destinations of routes in other tables than main, as they were when all were listed.
    elsewhere: Vec<IpNet>,
}

impl Reader {
    fn new(links: Box<dyn Links>) -> Self {
        Self {
            links,
            elsewhere: Vec::new(),
        }
    }

    fn read(&mut self, which: Routes) -> Result<NodeNetwork, LinkError> {
        let all = self.links.links()?;
        // What IPVS binds there are services' addresses.
        let bound = named(&all, DEVICE).map(|link| link.index);
        let mut addresses: Vec<IpAddr> = self
            .links
            .addresses()?
            .into_iter()
            .filter(|held| Some(held.interface) != bound)
            .map(|held| held.address)
            .collect();
        let filter = RouteFilter {
            table: (which == Routes::Main).then_some(MAIN),
            ..RouteFilter::default()
        };
        let (main, elsewhere): (Vec<Route>, Vec<Route>) = self
            .links
            .routes_of(&filter)?
            .into_iter()
            .filter(|route| route.gateway.is_none() && route.interface.is_some())
            .filter(|route| route.interface != bound)
            .filter(|route| route.destination.prefix_len() > 0)
            .partition(|route| route.table == MAIN);
        let destinations = |routes: Vec<Route>| routes.into_iter().map(|route| route.destination);
        if which == Routes::All {
            self.elsewhere = destinations(elsewhere).collect();
        }
        let mut routes: Vec<IpNet> = destinations(main).collect();
        routes.extend(&self.elsewhere);
        addresses.sort_unstable();
        addresses.dedup();
        routes.sort_unstable();
        routes.dedup();
        Ok(NodeNetwork { addresses, routes })
    }
}

/// Tells an inbox of the node's network, now and whenever it changes.
pub struct NetworkWatch {
    events: AddressEvents,
    reader: Reader,
    told: NodeNetwork,
    /// When all routes are listed again.
    next_look: Instant,
    /// Something came, or may have, and was not looked at.
    is_late: bool,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
}

impl NetworkWatch {
    /// Begins to listen, and tells what is there now.
    pub fn open(inbox: Arc<Inbox>, metrics: Arc<Metrics>) -> Result<Self, LinkError> {
        let events = AddressEvents::open()?;
        Self::over(events, Box::new(NetlinkLinks::open()?), inbox, metrics)
    }

    fn over(
        events: AddressEvents,
        links: Box<dyn Links>,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LinkError> {
        let mut reader = Reader::new(links);
        let told = reader.read(Routes::All)?;
        push(&inbox, told.clone());
        Ok(Self {
            events,
            reader,
            told,
            next_look: Instant::now() + LOOK,
            is_late: false,
            inbox,
            metrics,
        })
    }

    /// Follows changes until the process ends.
    pub fn follow(mut self) -> ! {
        loop {
            match self.step() {
                Ok(took) => thread::sleep((took * REST).min(LONGEST_REST)),
                Err(error) => {
                    tracing::error!(%error, "the node's addresses cannot be followed; trying again");
                    thread::sleep(RETRY);
                    self.open_again();
                }
            }
        }
    }

    fn open_again(&mut self) {
        self.is_late = true;
        match (AddressEvents::open(), NetlinkLinks::open()) {
            (Ok(events), Ok(links)) => {
                self.events = events;
                self.reader.links = Box::new(links);
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%error, "netlink cannot be opened again yet");
            }
        }
    }

    /// Waits for a change, or until it is time, and looks. Returns how long the look took.
    fn step(&mut self) -> Result<Duration, LinkError> {
        let wait = self.next_look.saturating_duration_since(Instant::now());
        if !self.is_late && self.events.wait(wait)? {
            self.is_late = true;
            thread::sleep(SETTLE);
            self.events.wait(Duration::ZERO)?;
        }
        let start = Instant::now();
        let which = if start < self.next_look {
            Routes::Main
        } else {
            Routes::All
        };
        self.look(which)?;
        self.is_late = false;
        if which == Routes::All {
            self.next_look = start + LOOK;
        }
        Ok(start.elapsed())
    }

    fn look(&mut self, which: Routes) -> Result<(), LinkError> {
        let network = self.reader.read(which)?;
        if network.has_moved(&self.told) {
            self.metrics.kernel.count_address_change();
            tracing::info!(
                addresses = network.addresses.len(),
                "the node's addresses changed"
            );
        }
        if network != self.told {
            self.told = network.clone();
            push(&self.inbox, network);
        }
        Ok(())
    }
}

fn push(inbox: &Inbox, network: NodeNetwork) {
    inbox.push(
        Batch {
            network: Some(network),
            ..Batch::default()
        },
        Instant::now(),
    );
}
