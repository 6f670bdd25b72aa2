//! Virtual servers that others made. They are left alone, but for those that kube-proxy made on our frontends: these are taken over, by
//! edits, so that their connections go on.
//!
//! That needs no look whether kube-proxy still runs, which an agent in a pod cannot tell. Both may serve by the same virtual servers:
//! neither deletes what the other wants. kube-proxy deletes virtual servers that are on none of its frontends; on its own it sets
//! scheduler and persistence, adds the endpoints that are missing, gives those that it does not know weight 0, and leaves all other
//! weights alone. Where the two want a different scheduler they set it in turns, until one of them ends. What its sets name stays
//! kube-proxy's too: our removal leaves it in the kernel.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use sluice_kernel::ipvs::{Service, VirtualServer};
use sluice_service_plan::plan::Plan;

use super::IpvsBalancer;
use super::desired::node_port_addresses;
use super::found::Found;
use super::server::Server;
use super::servers::Servers;
use super::steps::Held;
use crate::data_plane::DataPlaneError;
use crate::kube_proxy::{Claims, could_have_made};

/// Those that were seen, with how they balance as far as that is known.
pub(super) type Seen = HashMap<VirtualServer, Option<Service>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Others {
    seen: Seen,
    /// Those of them that a service of ours should have.
    contested: BTreeSet<VirtualServer>,
    claims: Claims,
    /// The node's own addresses.
    own: HashSet<IpAddr>,
}

impl Others {
    /// Takes note of what others made.
    pub(super) fn see(&mut self, seen: Seen) {
        self.contested.retain(|server| seen.contains_key(server));
        self.seen = seen;
    }

    /// Takes note of what kube-proxy claims. Without claims nothing is taken over.
    pub(super) fn believe(&mut self, claims: Claims, own: &[IpAddr]) {
        self.claims = claims;
        self.own = own.iter().copied().collect();
    }

    /// The same for the same node.
    pub(super) fn renew(&mut self, claims: Claims) {
        self.claims = claims;
    }

    /// Whether another was seen to have made it.
    pub(super) fn contain(&self, server: &VirtualServer) -> bool {
        self.seen.contains_key(server)
    }

    /// Whether another made it. `wanted`: it should be ours.
    pub(super) fn contest(&mut self, server: &VirtualServer, wanted: bool) -> bool {
        let foreign = self.contain(server);
        if foreign && wanted {
            self.contested.insert(*server);
        } else {
            self.contested.remove(server);
        }
        foreign
    }

    /// Another made these since the last look.
    pub(super) fn came(&mut self, servers: &[VirtualServer]) {
        self.seen.extend(servers.iter().map(|key| (*key, None)));
        self.contested.extend(servers);
    }

    /// These are ours from now on.
    pub(super) fn were_taken_over(&mut self, servers: &[Server]) {
        for server in servers {
            self.seen.remove(&server.key);
            self.contested.remove(&server.key);
        }
    }

    pub(super) fn contested(&self) -> &BTreeSet<VirtualServer> {
        &self.contested
    }
}

impl IpvsBalancer {
    /// Takes note of what is not in the ledger. What the programmed plan asks for and nobody else was seen to have is ours all the same.
    pub(super) fn see_others(&mut self, plan: &Plan, node_ports: &[IpAddr], mut seen: Seen) {
        let known = |server: &VirtualServer| self.servers.others.contain(server);
        if !seen.keys().all(known) {
            for service in plan.services.values() {
                let desired = self.desired(plan, node_ports, [service.as_ref()]);
                let ours = desired.servers.keys().map(|server| &server.key);
                for server in ours.filter(|server| !known(server)) {
                    seen.remove(server);
                }
            }
        }
        self.servers.others.see(seen);
    }

    /// What is to be taken over is in the ledger before our rules refuse what is not in it: kube-proxy serves by it.
    pub(super) fn note_claimed(&mut self, plan: &Plan) -> Result<(), DataPlaneError> {
        let claims = self.ledger.claims_of_kube_proxy()?;
        if self.retired.is_some() || claims == Claims::default() {
            return Ok(());
        }
        self.restore_ledger()?;
        self.servers.others.believe(claims, &plan.node.addresses);
        let (found, seen) = Found::read(&mut self.servers, &mut self.ledger)?;
        self.servers.others.see(seen);
        let node_ports = node_port_addresses(&plan.node, &plan.settings);
        self.decide_all(plan, &node_ports, &found.inside);
        let mut taken = Vec::new();
        for service in plan.services.values() {
            let desired = self.desired(plan, &node_ports, [service.as_ref()]);
            for server in desired.servers.into_keys() {
                if self.servers.claimed(&server.key)?.is_some() {
                    taken.push(server);
                }
            }
        }
        self.ledger.add_servers(&taken)?;
        self.servers.others.were_taken_over(&taken);
        Ok(())
    }
}

impl Servers {
    /// What the kernel holds of a virtual server that may be taken over; absent where it may not.
    pub(super) fn claimed(
        &mut self,
        server: &VirtualServer,
    ) -> Result<Option<Held>, DataPlaneError> {
        let others = &self.others;
        let Some(service) = others.seen.get(server).cloned() else {
            return Ok(None);
        };
        if !others.claims.name(server, &others.own) {
            return Ok(None);
        }
        let listed = self.destinations(server)?;
        let listed = listed.map(|listed| listed.into_iter().map(|one| one.destination));
        let held = listed.map(|destinations| Held {
            service,
            destinations: destinations.map(|one| (one.server, one)).collect(),
        });
        Ok(held.filter(|held| could_have_made(held.destinations.values())))
    }
}
