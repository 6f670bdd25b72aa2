//! Addresses and routes of the node, followed as they come and go.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sluice_kernel::links::{AddressEvents, LinkError, Links, NetlinkLinks, named};

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
    pub fn read(links: &mut dyn Links) -> Result<Self, LinkError> {
        let all = links.links()?;
        // What IPVS binds there are services' addresses.
        let bound = named(&all, DEVICE).map(|link| link.index);
        let mut addresses: Vec<IpAddr> = links
            .addresses()?
            .into_iter()
            .filter(|held| Some(held.interface) != bound)
            .map(|held| held.address)
            .collect();
        let mut routes: Vec<IpNet> = links
            .routes()?
            .into_iter()
            .filter(|route| route.gateway.is_none() && route.interface.is_some())
            .filter(|route| route.interface != bound)
            .filter(|route| route.destination.prefix_len() > 0)
            .map(|route| route.destination)
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        routes.sort_unstable();
        routes.dedup();
        Ok(Self { addresses, routes })
    }

    /// Whether it has other addresses than before, but for link-local ones: every pod's start brings one, which is nothing to tell people.
    fn has_moved(&self, before: &Self) -> bool {
        let told = |ip: &&IpAddr| !is_link_local(ip);
        let now = self.addresses.iter().filter(told);
        now.ne(before.addresses.iter().filter(told))
    }
}

/// Tells an inbox of the node's network, now and whenever it changes.
#[derive(Debug)]
pub struct NetworkWatch {
    events: AddressEvents,
    links: NetlinkLinks,
    told: NodeNetwork,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
}

impl NetworkWatch {
    /// Begins to listen, and tells what is there now.
    pub fn open(inbox: Arc<Inbox>, metrics: Arc<Metrics>) -> Result<Self, LinkError> {
        let events = AddressEvents::open()?;
        let mut links = NetlinkLinks::open()?;
        let told = NodeNetwork::read(&mut links)?;
        push(&inbox, told.clone());
        Ok(Self {
            events,
            links,
            told,
            inbox,
            metrics,
        })
    }

    /// Follows changes until the process ends.
    pub fn follow(mut self) -> ! {
        loop {
            if let Err(error) = self.look() {
                tracing::error!(%error, "the node's addresses cannot be followed; trying again");
                thread::sleep(RETRY);
                match (AddressEvents::open(), NetlinkLinks::open()) {
                    (Ok(events), Ok(links)) => (self.events, self.links) = (events, links),
                    (Err(error), _) | (_, Err(error)) => {
                        tracing::debug!(%error, "netlink cannot be opened again yet");
                    }
                }
            }
        }
    }

    fn look(&mut self) -> Result<(), LinkError> {
        if self.events.wait(LOOK)? {
            thread::sleep(SETTLE);
            self.events.wait(Duration::ZERO)?;
        }
        let network = NodeNetwork::read(&mut self.links)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pods_links_are_no_move_of_the_node() {
        let with = |addresses: &[&str]| NodeNetwork {
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..NodeNetwork::default()
        };
        let before = with(&["192.0.2.1", "2001:db8::1", "fe80::1"]);
        assert!(!with(&["192.0.2.1", "2001:db8::1", "fe80::1", "fe80::2"]).has_moved(&before));
        assert!(!with(&["192.0.2.1", "2001:db8::1"]).has_moved(&before));
        assert!(with(&["192.0.2.1", "fe80::1"]).has_moved(&before));
        assert!(with(&["169.254.0.1", "192.0.2.1", "2001:db8::1", "fe80::1"]).has_moved(&before));
    }
}
