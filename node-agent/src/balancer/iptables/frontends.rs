//! The frontends of one family, and their chains.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use sluice_service_plan::model::{Family, LocalDetector};
use sluice_service_plan::plan::{Frontend, FrontendAddress, Pool, PortPlan, ServicePlan};

use super::tree::{Key, Node, Prefix, Space, Tree};
use super::{names, pool};
use crate::glue::iptables::rules::{self as glue, Inputs};
use crate::glue::membership::Role;
use crate::ruleset::{Chain, ChainTable};

/// A frontend: where its plan is.
#[derive(Debug, Clone)]
struct Target {
    service: Arc<ServicePlan>,
    port: u16,
    frontend: u16,
}

impl Target {
    fn port(&self) -> &PortPlan {
        &self.service.ports[usize::from(self.port)]
    }

    fn frontend(&self) -> &Frontend {
        &self.port().frontends[usize::from(self.frontend)]
    }
}

/// The tree of addresses and the tree of node ports of one family.
#[derive(Debug)]
pub(super) struct FamilyTrees {
    family: Family,
    addresses: Lookup,
    node_ports: Lookup,
}

/// One tree, and which of its keys changed since its chains were last put.
#[derive(Debug)]
struct Lookup {
    tree: Tree<Target>,
    dirty: BTreeSet<Key>,
}

impl FamilyTrees {
    pub(super) fn new(family: Family) -> Self {
        let space = match family {
            Family::V4 => Space::V4,
            Family::V6 => Space::V6,
        };
        Self {
            family,
            addresses: Lookup::new(space),
            node_ports: Lookup::new(Space::Ports),
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn clear(&mut self) {
        self.addresses.clear();
        self.node_ports.clear();
    }

    /// Enters a service's frontends that have an endpoint; the others are refused elsewhere.
    pub(super) fn insert(&mut self, service: &Arc<ServicePlan>) {
        for (port_index, port) in service.ports.iter().enumerate() {
            if port.key.family != self.family || (port.cluster.is_empty() && port.local.is_empty())
            {
                continue;
            }
            for (index, frontend) in port.frontends.iter().enumerate() {
                if port.pool(frontend.outside).is_empty() && port.pool(frontend.inside).is_empty() {
                    continue;
                }
                let (Ok(port_index), Ok(index)) = (u16::try_from(port_index), u16::try_from(index))
                else {
                    continue;
                };
                let target = Target {
                    service: Arc::clone(service),
                    port: port_index,
                    frontend: index,
                };
                let (lookup, key) = self.place(port, frontend);
                lookup.dirty.insert(key);
                lookup.tree.insert(key, target);
            }
        }
    }

    /// Takes a service's frontends out.
    pub(super) fn remove(&mut self, service: &ServicePlan) {
        let family = self.family;
        for port in service
            .ports
            .iter()
            .filter(|port| port.key.family == family)
        {
            for frontend in &port.frontends {
                let (lookup, key) = self.place(port, frontend);
                if lookup
                    .tree
                    .get(&key)
                    .is_some_and(|target| target.service.name == service.name)
                {
                    lookup.dirty.insert(key);
                    lookup.tree.remove(&key);
                }
            }
        }
    }

    /// Puts the chains that a service's frontends lead to.
    pub(super) fn put_pools(
        &self,
        table: &mut ChainTable,
        inputs: &Inputs<'_>,
        service: &ServicePlan,
    ) {
        for port in service
            .ports
            .iter()
            .filter(|port| port.key.family == self.family)
        {
            for used in port.used_pools() {
                if !port.pool(used).is_empty() {
                    pool::put_chains(table, port, used);
                }
            }
            if port.frontends.iter().any(|f| f.outside != f.inside) && !port.cluster.is_empty() {
                table.put(policy_chain(inputs, port));
            }
        }
    }

    /// Puts the chain that packets come in by.
    pub(super) fn put_roots(&self, table: &mut ChainTable, inputs: &Inputs<'_>) {
        let mut chain = Chain::new(names::SERVICES);
        for role in [Role::ClusterIp, Role::ExternalIp] {
            let set = inputs.set(role);
            chain.lead(
                &format!("-m set --match-set {set} dst"),
                "-j",
                self.addresses.tree.root_name(),
            );
        }
        // What is left at these is the filter table's: it refuses what no service lists there too.
        for matches in inputs.refused_matches() {
            chain.rule(format_args!("{matches} -j ACCEPT"));
        }
        chain.rule(format_args!("{} -j ACCEPT", inputs.delivered_match()));
        for matches in inputs.node_port_matches("-o lo") {
            chain.lead(&matches, "-j", self.node_ports.tree.root_name());
        }
        table.put(chain);
    }

    /// Puts all chains of both trees.
    pub(super) fn put_everything(&mut self, table: &mut ChainTable, inputs: &Inputs<'_>) {
        for lookup in [&mut self.addresses, &mut self.node_ports] {
            lookup.dirty.clear();
            lookup.put_below(table, inputs, Tree::<Target>::root(), true);
        }
    }

    /// Puts the chains on the way to the frontends that changed.
    pub(super) fn put_dirty(&mut self, table: &mut ChainTable, inputs: &Inputs<'_>) {
        for lookup in [&mut self.addresses, &mut self.node_ports] {
            let mut prefixes: BTreeSet<Prefix> = lookup
                .dirty
                .iter()
                .flat_map(|key| lookup.tree.path(*key))
                .collect();
            lookup.dirty.clear();
            // The chain's constant rules depend on nothing that a service changes, so an empty step stays empty.
            prefixes.insert(Tree::<Target>::root());
            for prefix in prefixes {
                lookup.put(table, inputs, prefix);
            }
        }
    }

    fn place(&mut self, port: &PortPlan, frontend: &Frontend) -> (&mut Lookup, Key) {
        match frontend.address {
            FrontendAddress::Ip(ip) => (
                &mut self.addresses,
                Key::new(Some(ip), port.key.protocol, frontend.port),
            ),
            FrontendAddress::NodePort => (
                &mut self.node_ports,
                Key::new(None, port.key.protocol, frontend.port),
            ),
        }
    }
}

impl Lookup {
    fn new(space: Space) -> Self {
        Self {
            tree: Tree::new(space),
            dirty: BTreeSet::new(),
        }
    }

    fn clear(&mut self) {
        self.tree.clear();
        self.dirty.clear();
    }

    /// Puts one chain, and those that it newly leads to.
    fn put(&self, table: &mut ChainTable, inputs: &Inputs<'_>, prefix: Prefix) {
        self.put_below(table, inputs, prefix, false);
    }

    fn put_below(&self, table: &mut ChainTable, inputs: &Inputs<'_>, prefix: Prefix, all: bool) {
        let mut chain = Chain::new(self.tree.name(prefix));
        if prefix == Tree::<Target>::root() {
            self.constant_rules(&mut chain, inputs);
        }
        match self.tree.node(prefix) {
            Node::Leaf => self
                .tree
                .below(prefix)
                .for_each(|target| send(&mut chain, target, prefix.tells_port())),
            Node::Inner(parts) => {
                for part in parts {
                    let name = self.tree.name(part.node);
                    chain.lead(&self.tree.matches(&part), "-g", &name);
                    if all || !table.contains(&name) {
                        self.put_below(table, inputs, part.node, all);
                    }
                }
            }
        }
        table.put(chain);
    }

    fn constant_rules(&self, chain: &mut Chain, inputs: &Inputs<'_>) {
        if self.tree.is_of_ports() {
            chain.rule(format_args!("-j {}", glue::MARK_NODE_PORT));
            return;
        }
        let (guarded, allowed) = (inputs.set(Role::Guarded), inputs.set(Role::Allowed));
        chain.rule(format_args!(
            "-m set --match-set {guarded} dst,dst -m set ! --match-set {allowed} dst,dst,src -j ACCEPT"
        ));
        chain.rule(format_args!("-j {}", glue::MARK));
    }
}

/// The rules of one frontend in its leaf. Where all that comes there is for its protocol and port, they name only the protocol, without
/// which iptables translates no port.
fn send(chain: &mut Chain, target: &Target, port_is_told: bool) {
    let (port, frontend) = (target.port(), target.frontend());
    let mut matches = String::new();
    if let FrontendAddress::Ip(ip) = frontend.address {
        let _ = write!(matches, "-d {ip}/{} ", if ip.is_ipv4() { 32 } else { 128 });
    }
    let protocol = port.key.protocol;
    let _ = write!(matches, "-p {protocol}");
    if !port_is_told {
        let _ = write!(matches, " -m {protocol} --dport {}", frontend.port);
    }
    if frontend.inside == frontend.outside {
        pool::send(chain, &matches, port, frontend.outside);
    } else {
        chain.lead(&matches, "-g", &names::policy(&port.key));
    }
}

/// `externalTrafficPolicy: Local`: this node and its pods reach all endpoints, everyone else those of this node.
fn policy_chain(inputs: &Inputs<'_>, port: &PortPlan) -> Chain {
    let mut chain = Chain::new(names::policy(&port.key));
    let protocol = port.key.protocol;
    let inside = match &inputs.settings.detect_local {
        LocalDetector::None => None,
        LocalDetector::Cidrs(_) => Some(format!(
            "-p {protocol} -m set --match-set {} src",
            inputs.set(Role::Pods)
        )),
        LocalDetector::BridgeInterface(name) => Some(format!("-i {name} -p {protocol}")),
        LocalDetector::InterfaceNamePrefix(prefix) => Some(format!("-i {prefix}+ -p {protocol}")),
    };
    for matches in inside
        .into_iter()
        .chain([format!("-p {protocol} -m addrtype --src-type LOCAL")])
    {
        pool::send(&mut chain, &matches, port, Pool::Cluster);
    }
    if !port.local.is_empty() {
        pool::send(&mut chain, "", port, Pool::Local);
    }
    chain
}
