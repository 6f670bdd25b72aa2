//! Addresses and routes of the node, followed as they come and go.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sluice_kernel::links::{AddressEvents, LinkError, Links, NetlinkLinks, named};

use super::inbox::{Batch, Inbox};
use crate::balancer::ipvs::names::DEVICE;
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
        if network.addresses != self.told.addresses {
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
