//! Which endpoints of a service port get new connections, and which may keep the flows that they have.

use std::net::SocketAddr;
use std::sync::Arc;

use super::objects::{Placement, Slice};
use crate::model::{EndpointWeight, Family, NodeFacts, Protocol, Settings};
use crate::plan::{Endpoint, EndpointNode};

/// One address and port of a service port, whatever its state.
#[derive(Debug)]
struct Candidate<'a> {
    address: SocketAddr,
    ready: bool,
    serving: bool,
    terminating: bool,
    node: EndpointNode,
    placement: &'a Placement,
}

impl Candidate<'_> {
    fn is_local(&self) -> bool {
        self.node == EndpointNode::Ours
    }

    fn is_draining(&self) -> bool {
        self.serving && self.terminating
    }
}

/// The endpoints of a service port; sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pools {
    /// Usable endpoints of the cluster, topology applied.
    pub(super) cluster: Vec<Endpoint>,
    /// Usable endpoints of this node.
    pub(super) local: Vec<Endpoint>,
    /// All that answer, wherever they are and whoever should use them.
    pub(super) serving: Vec<Endpoint>,
}

impl Pools {
    /// The pools of the port with this name and protocol.
    pub(super) fn of_port(
        slices: &[Slice],
        family: Family,
        port: &str,
        protocol: Protocol,
        node: &NodeFacts,
        settings: &Settings,
    ) -> Self {
        let candidates = candidates(slices, family, port, protocol, node);
        let chosen = |choice: Vec<&Candidate<'_>>| {
            choice
                .into_iter()
                .map(|one| Endpoint {
                    address: one.address,
                    weight: weight(one.placement, &settings.endpoint_weights),
                    node: one.node,
                })
                .collect()
        };
        Self {
            cluster: chosen(near(usable(candidates.iter()), node)),
            local: chosen(usable(candidates.iter().filter(|one| one.is_local()))),
            serving: chosen(
                candidates
                    .iter()
                    .filter(|one| one.ready || one.serving)
                    .collect(),
            ),
        }
    }
}

/// Number of ready endpoint addresses on this node: what `healthCheckNodePort` reports. Terminating ones do not count
/// even where they are published as ready.
pub(super) fn ready_here(slices: &[Slice], family: Family, node: &NodeFacts) -> usize {
    let mut addresses: Vec<_> = slices
        .iter()
        .filter(|slice| slice.family == family && !slice.ports.is_empty())
        .flat_map(|slice| &slice.members)
        .filter(|one| one.ready && !one.terminating)
        .filter(|one| node_of(&one.placement, node) == EndpointNode::Ours)
        .map(|one| one.address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.len()
}

/// Merges the slices: sorted by address, each address and port once.
fn candidates<'a>(
    slices: &'a [Slice],
    family: Family,
    port: &str,
    protocol: Protocol,
    node: &NodeFacts,
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for slice in slices.iter().filter(|slice| slice.family == family) {
        for number in slice
            .ports
            .iter()
            .filter(|one| *one.name == *port && one.protocol == protocol)
            .map(|one| one.port)
        {
            candidates.extend(slice.members.iter().map(|one| Candidate {
                address: SocketAddr::new(one.address, number),
                ready: one.ready,
                serving: one.serving,
                terminating: one.terminating,
                node: node_of(&one.placement, node),
                placement: &one.placement,
            }));
        }
    }
    // While an endpoint moves from one slice to another both name it: the more useful description counts. One that terminates may be of
    // the pod that had the address before, on another node even: it says nothing about who has it now.
    candidates.sort_by_key(|one| (one.address, one.terminating, !one.ready, one.node));
    candidates.dedup_by(|other, first| {
        let same = other.address == first.address;
        if same && other.terminating == first.terminating {
            first.serving |= other.serving;
            first.node = first.node.min(other.node);
        }
        same
    });
    candidates
}

fn node_of(placement: &Placement, node: &NodeFacts) -> EndpointNode {
    match &placement.node {
        Some(name) if *name == node.name => EndpointNode::Ours,
        Some(_) => EndpointNode::Another,
        None => EndpointNode::Untold,
    }
}

/// All ready ones; if there is none, all that still serve while they terminate (KEP-1669).
fn usable<'a, 'b: 'a>(
    candidates: impl Iterator<Item = &'a Candidate<'b>> + Clone,
) -> Vec<&'a Candidate<'b>> {
    let ready: Vec<_> = candidates.clone().filter(|one| one.ready).collect();
    if ready.is_empty() {
        candidates.filter(|one| one.is_draining()).collect()
    } else {
        ready
    }
}

/// Topology: those that are meant for this node, else for its zone, else all. Hints count only where every endpoint
/// has them and one is for us (KEP-2433, KEP-4444, KEP-3015); endpoints that terminate are used wherever they are.
fn near<'a, 'b>(usable: Vec<&'a Candidate<'b>>, node: &NodeFacts) -> Vec<&'a Candidate<'b>> {
    if usable.first().is_none_or(|one| !one.ready) {
        return usable;
    }
    let for_node = hinted(&usable, Some(&node.name), |placement| &placement.hint_nodes);
    let for_zone = || {
        hinted(&usable, node.zone.as_ref(), |placement| {
            &placement.hint_zones
        })
    };
    for_node.or_else(for_zone).unwrap_or(usable)
}

/// The endpoints whose hints name us, where hints of this kind count.
fn hinted<'a, 'b>(
    usable: &[&'a Candidate<'b>],
    ours: Option<&Arc<str>>,
    hints: fn(&Placement) -> &[Arc<str>],
) -> Option<Vec<&'a Candidate<'b>>> {
    let ours = ours?;
    if usable.iter().any(|one| hints(one.placement).is_empty()) {
        return None;
    }
    let for_us: Vec<_> = usable
        .iter()
        .copied()
        .filter(|one| hints(one.placement).contains(ours))
        .collect();
    (!for_us.is_empty()).then_some(for_us)
}

/// The first row that matches decides.
fn weight(placement: &Placement, rows: &[EndpointWeight]) -> u16 {
    let matches = |list: &[Arc<str>], value: &Option<Arc<str>>| {
        list.is_empty() || value.as_ref().is_some_and(|value| list.contains(value))
    };
    rows.iter()
        .find(|row| matches(&row.zones, &placement.zone) && matches(&row.nodes, &placement.node))
        .map_or(1, |row| row.weight.max(1))
}
