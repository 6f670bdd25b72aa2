//! From what there is to what is to be written. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::v1alpha1::{
    ActiveMode, NodeServiceProxySpec, Rollout, ServiceProxyPolicySpec, ServiceProxyPolicyStatus,
};

use crate::objects::{Node, Policy, Proxy};
use crate::resolve::{Candidate, Resolved, pools, resolve};
use crate::revision::{Content, Revision};
use crate::rollout::{Move, Outcome, Pool, step};
use crate::snapshot::{BUILT_IN, Snapshot};
use crate::status::{self, Event};

/// Revisions of a policy that are kept beside those in use.
const KEPT: usize = 10;

/// What is to be written, in this order: a revision is kept before a node has it, and a failure is noted before nodes go back, so that an
/// operator that dies in between goes on where it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Revisions to keep.
    pub revisions: Vec<Revision>,
    /// Statuses that say something new.
    pub statuses: Vec<StatusWrite>,
    /// Nodes to tell.
    pub nodes: Vec<NodeWrite>,
    /// Objects of nodes that are gone, that are none of ours, or of earlier nodes of their name.
    pub gone: Vec<Gone>,
    /// Nodes that are served, and whose taint goes: position of it.
    pub served: Vec<(Arc<str>, usize)>,
    /// Revisions that nobody needs any more.
    pub old_revisions: Vec<Arc<str>>,
    /// When to plan again though nothing has happened.
    pub wake: Option<Timestamp>,
}

/// The object of a node that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The node.
    pub node: Arc<str>,
    /// `metadata.uid` of the object that was found to be an earlier node's,
    pub uid: Option<String>,
    /// and its version then: one that has changed since is looked at again.
    pub version: Option<String>,
}

/// A policy's new status.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusWrite {
    /// The policy.
    pub policy: Arc<str>,
    /// Its uid,
    pub uid: String,
    /// and its version when it was looked at: one that has changed since is looked at again.
    pub version: Option<String>,
    /// What it says.
    pub status: ServiceProxyPolicyStatus,
    /// What a person is told of it.
    pub events: Vec<Event>,
}

/// What a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeWrite {
    /// The node.
    pub node: Arc<str>,
    /// Its uid.
    pub uid: String,
    /// What it shall run.
    pub spec: NodeServiceProxySpec,
    /// Since when, for nodes that may be late.
    pub moved_at: Option<Timestamp>,
    /// The mode that it was told with the revision that it would go back to.
    pub mode_before: Option<ActiveMode>,
}

impl Plan {
    /// Nothing is to be written.
    pub fn is_empty(&self) -> bool {
        let Self {
            revisions,
            statuses,
            nodes,
            gone,
            served,
            old_revisions,
            wake: _,
        } = self;
        revisions.is_empty()
            && statuses.is_empty()
            && nodes.is_empty()
            && gone.is_empty()
            && served.is_empty()
            && old_revisions.is_empty()
    }
}

/// Makes a plan.
pub fn plan(snapshot: &Snapshot, remove_taint: bool, now: Timestamp) -> Plan {
    let mut plan = Plan {
        gone: gone(snapshot),
        ..Plan::default()
    };
    if remove_taint {
        plan.served = served(snapshot);
    }
    let resolved = resolved(snapshot);
    let held = held(snapshot);
    let free = snapshot
        .nodes
        .keys()
        .filter(|node| !held.contains_key(*node));
    let mut pools = pools(&resolved, free);
    for policy in snapshot.policies.values() {
        let nodes = pools
            .remove(&Some(Arc::clone(&policy.name)))
            .unwrap_or_default();
        match &policy.spec {
            Ok(spec) => plan.add_policy(snapshot, policy, spec, &nodes, &resolved, now),
            Err(problem) => {
                let count = held.values().filter(|name| **name == policy.name).count();
                let status = status::of_invalid(policy, problem, count, now);
                plan.add_status(policy, status);
            }
        }
    }
    let nobodys: BTreeSet<Arc<str>> = pools.into_values().flatten().collect();
    plan.add_built_in(snapshot, &nobodys, now);
    plan.old_revisions = old_revisions(snapshot, &plan);
    plan
}

fn resolved(snapshot: &Snapshot) -> Resolved {
    let valid = snapshot.policies.values().filter_map(|policy| {
        let spec = policy.spec.as_ref().ok()?;
        Some(Candidate {
            name: &policy.name,
            created: policy.created,
            priority: spec.priority,
            selector: &spec.node_selector,
        })
    });
    let held = held(snapshot);
    let free = snapshot
        .nodes
        .values()
        .filter(|node| !held.contains_key(&node.name));
    resolve(valid, free)
}

/// Nodes of policies that cannot be used any more: they keep what they have until somebody mends the policy.
fn held(snapshot: &Snapshot) -> BTreeMap<Arc<str>, Arc<str>> {
    let of_invalid = |(node, proxy): (&Arc<str>, &Proxy)| {
        let told = proxy.told.as_ref()?;
        let policy = snapshot.policies.get(&told.policy)?;
        policy
            .spec
            .is_err()
            .then(|| (Arc::clone(node), Arc::clone(&policy.name)))
    };
    // Those of valid policies are most, and cost nothing.
    if snapshot.policies.values().all(|policy| policy.spec.is_ok()) {
        return BTreeMap::new();
    }
    snapshot.proxies.iter().filter_map(of_invalid).collect()
}

impl Plan {
    fn add_policy(
        &mut self,
        snapshot: &Snapshot,
        policy: &Policy,
        spec: &ServiceProxyPolicySpec,
        nodes: &BTreeSet<Arc<str>>,
        resolved: &Resolved,
        now: Timestamp,
    ) {
        let newest = Revision::new(&policy.name, policy.generation, Content::of(spec));
        if !snapshot.revisions.contains_key(&newest.name) {
            self.revisions.push(newest.clone());
        }
        let written = &policy.status;
        let current = written.current_revision.as_deref();
        let current = current.and_then(|name| revision(snapshot, &newest, name));
        let pool = Pool {
            nodes: members(snapshot, nodes),
            services: snapshot.services,
            newest: &newest,
            current,
            rejected: rejected(policy),
            rollout: &spec.rollout,
        };
        let outcome = step(&pool, now);
        self.add_moves(snapshot, &outcome, &newest, current);
        let overridden = resolved.overridden.get(&policy.name);
        let status = status::of(policy, &outcome, overridden, now);
        self.add_status(policy, status);
    }

    /// Where no policy counts, nodes run what a policy without a word would say.
    fn add_built_in(&mut self, snapshot: &Snapshot, nodes: &BTreeSet<Arc<str>>, now: Timestamp) {
        let content = Content::of(&ServiceProxyPolicySpec::default());
        let newest = Revision::new(&Arc::from(BUILT_IN), 1, content);
        let rollout = Rollout::default();
        let pool = Pool {
            nodes: members(snapshot, nodes),
            services: snapshot.services,
            newest: &newest,
            // It never changes, so there is nothing else to go back to.
            current: Some(&newest),
            rejected: None,
            rollout: &rollout,
        };
        let outcome = step(&pool, now);
        self.add_moves(snapshot, &outcome, &newest, None);
    }

    fn add_moves(
        &mut self,
        snapshot: &Snapshot,
        outcome: &Outcome,
        newest: &Revision,
        current: Option<&Revision>,
    ) {
        self.wake = self.wake.into_iter().chain(outcome.wake).min();
        for Move {
            node,
            revision,
            mode,
            moved_at,
        } in &outcome.moves
        {
            let revision = [Some(newest), current]
                .into_iter()
                .flatten()
                .find(|r| r.name == *revision);
            let (Some(revision), Some(node)) = (revision, snapshot.nodes.get(node)) else {
                continue;
            };
            if self.gone.iter().any(|gone| gone.node == node.name) {
                // Its object is an earlier node's: that goes first.
                continue;
            }
            self.nodes.push(NodeWrite {
                node: Arc::clone(&node.name),
                uid: node.uid.clone(),
                spec: NodeServiceProxySpec {
                    policy: revision.policy.to_string(),
                    policy_generation: revision.generation.max(1),
                    revision: revision.name.to_string(),
                    mode: *mode,
                    settings: revision.content.settings.clone(),
                },
                moved_at: *moved_at,
                mode_before: mode_before(snapshot.proxies.get(&node.name), revision, current),
            });
        }
    }

    fn add_status(&mut self, policy: &Policy, new: ServiceProxyPolicyStatus) {
        if status::is_news(&new, &policy.status) {
            self.statuses.push(StatusWrite {
                policy: Arc::clone(&policy.name),
                uid: policy.uid.clone(),
                version: policy.version.clone(),
                events: status::events(&policy.status, &new),
                status: new,
            });
        }
    }
}

/// The mode that a node was told with the revision that it would go back to when it is told another. On its way from one that was not good it stays what it was.
fn mode_before(
    proxy: Option<&Proxy>,
    revision: &Revision,
    current: Option<&Revision>,
) -> Option<ActiveMode> {
    let current = current.filter(|current| current.name != revision.name)?;
    let proxy = proxy?;
    let told = proxy.told.as_ref()?;
    if told.revision == current.name || told.policy != current.policy {
        Some(told.mode)
    } else {
        proxy.mode_before
    }
}

/// The revision that failed, as long as nobody has edited the policy: whatever an edit changes, also of the rollout alone, asks for another try.
fn rejected(policy: &Policy) -> Option<&str> {
    let written = &policy.status;
    let is_edited = written.observed_generation != Some(policy.generation);
    written.rejected_revision.as_deref().filter(|_| !is_edited)
}

fn revision<'a>(snapshot: &'a Snapshot, newest: &'a Revision, name: &str) -> Option<&'a Revision> {
    if *newest.name == *name {
        return Some(newest);
    }
    snapshot.revisions.get(name)
}

fn members<'a>(
    snapshot: &'a Snapshot,
    nodes: &BTreeSet<Arc<str>>,
) -> Vec<(&'a Node, Option<&'a Proxy>)> {
    let nodes = nodes.iter().filter_map(|name| snapshot.nodes.get(name));
    nodes
        .map(|node| (node, snapshot.proxies.get(&node.name)))
        .collect()
}

fn gone(snapshot: &Snapshot) -> Vec<Gone> {
    let is_gone = |(name, proxy): &(&Arc<str>, &Proxy)| match snapshot.nodes.get(*name) {
        None => true,
        Some(node) => proxy.owner.as_ref().is_some_and(|owner| *owner != node.uid),
    };
    let gone = snapshot.proxies.iter().filter(is_gone);
    gone.map(|(name, proxy)| Gone {
        node: Arc::clone(name),
        uid: proxy.uid.clone(),
        version: proxy.version.clone(),
    })
    .collect()
}

fn served(snapshot: &Snapshot) -> Vec<(Arc<str>, usize)> {
    let tainted = snapshot.nodes.values();
    let tainted = tainted.filter_map(|node| Some((node, node.not_ready_taint?)));
    let is_served = |(node, _): &(&Node, usize)| {
        let proxy = snapshot.proxies.get(&node.name);
        proxy.is_some_and(|proxy| proxy.is_programmed && proxy.owner.as_ref() == Some(&node.uid))
    };
    tainted
        .filter(is_served)
        .map(|(node, taint)| (Arc::clone(&node.name), taint))
        .collect()
}

/// Those that no node has and no status names, but for the last few of policies that there are.
fn old_revisions(snapshot: &Snapshot, plan: &Plan) -> Vec<Arc<str>> {
    let mut in_use: BTreeSet<&str> = plan
        .nodes
        .iter()
        .map(|write| write.spec.revision.as_str())
        .collect();
    in_use.extend(
        snapshot
            .proxies
            .values()
            .filter_map(|proxy| Some(&*proxy.told.as_ref()?.revision)),
    );
    for policy in snapshot.policies.values() {
        let status = &policy.status;
        let names = [
            &status.current_revision,
            &status.update_revision,
            &status.rejected_revision,
        ];
        in_use.extend(names.into_iter().flatten().map(String::as_str));
    }
    let mut unused: BTreeMap<&Arc<str>, Vec<&Revision>> = BTreeMap::new();
    for revision in snapshot.revisions.values() {
        if !in_use.contains(&*revision.name) {
            unused.entry(&revision.policy).or_default().push(revision);
        }
    }
    let mut old = Vec::new();
    for (policy, mut revisions) in unused {
        revisions.sort_by_key(|revision| {
            (
                std::cmp::Reverse(revision.generation),
                Arc::clone(&revision.name),
            )
        });
        // What is the newest just now is in no status yet.
        let kept = if snapshot.policies.contains_key(policy) {
            KEPT
        } else {
            0
        };
        old.extend(
            revisions
                .into_iter()
                .skip(kept)
                .map(|revision| Arc::clone(&revision.name)),
        );
    }
    old
}
