//! What planning costs an operator by itself, which looks at every node at every change: everything is in memory, no API server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sluice_crds::v1alpha1::{
    LabelSelector, Rollout, ServiceProxyPolicySpec, ServiceProxyPolicyStatus,
};
use sluice_operator::objects::{Answer, Node, Policy, Proxy, Told};
use sluice_operator::plan::{Plan, plan};
use sluice_operator::snapshot::Snapshot;

/// Plans that are measured, of which the middle one counts.
const TIMES: usize = 21;

/// What one plan takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planning {
    /// Where nothing is to be written.
    pub(super) settled: Duration,
    /// Where nearly all nodes are to be told something else.
    pub(super) edit: Duration,
}

/// Measures. The first policy is for all nodes, each of the others for one.
pub(super) fn measure(nodes: usize, policies: usize) -> Planning {
    let now = Timestamp::now();
    let mut held = Snapshot::default();
    for index in 0..nodes {
        held.set_node(node(index, policies), now);
    }
    for index in 0..policies {
        let policy = policy(index, nodes, 14);
        held.policies.insert(Arc::clone(&policy.name), policy);
    }
    loop {
        let plan = plan(&held, false, now);
        if plan.is_empty() {
            break;
        }
        write(&mut held, plan, now);
    }
    let settled = middle(&held, now);
    let first = policy(0, nodes, 15);
    if let Some(known) = held.policies.get_mut(&first.name) {
        known.generation += 1;
        known.spec = first.spec;
    }
    let edit = middle(&held, now);
    Planning { settled, edit }
}

fn middle(held: &Snapshot, now: Timestamp) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            let plan = plan(held, false, now);
            let took = begun.elapsed();
            drop(plan);
            took
        })
        .collect();
    times.sort_unstable();
    times[TIMES / 2]
}

fn node(index: usize, policies: usize) -> Node {
    let pool = if index < policies { index } else { 0 };
    Node {
        name: Arc::from(format!("node-{index}")),
        uid: format!("uid-{index}"),
        labels: [("pool".to_owned(), pool.to_string())].into(),
        is_reachable: true,
        so_since: None,
        not_ready_taint: None,
    }
}

fn policy(index: usize, nodes: usize, mark_bit: u32) -> Policy {
    let labels = (index > 0).then(|| ("pool".to_owned(), index.to_string()));
    let mut spec = ServiceProxyPolicySpec {
        node_selector: LabelSelector {
            match_labels: labels.into_iter().collect(),
            match_expressions: Vec::new(),
        },
        priority: i32::try_from(index).unwrap_or(i32::MAX),
        rollout: Rollout {
            max_unavailable: u32::try_from(nodes).unwrap_or(u32::MAX),
            min_ready_seconds: 0,
            ..Rollout::default()
        },
        ..ServiceProxyPolicySpec::default()
    };
    spec.source_nat.mark_bit = mark_bit;
    Policy {
        name: Arc::from(format!("policy-{index}")),
        uid: format!("uid-{index}"),
        version: None,
        generation: 1,
        created: 0,
        spec: Ok(Arc::new(spec)),
        status: ServiceProxyPolicyStatus::default(),
    }
}

/// Takes in what is to be written, and every agent does as it is told.
fn write(held: &mut Snapshot, plan: Plan, now: Timestamp) {
    for revision in plan.revisions {
        held.revisions.insert(Arc::clone(&revision.name), revision);
    }
    for write in plan.statuses {
        if let Some(policy) = held.policies.get_mut(&write.policy) {
            policy.status = write.status;
        }
    }
    for write in plan.nodes {
        let proxy = Proxy {
            uid: None,
            version: None,
            owner: Some(write.uid),
            told: Some(Told::of(&write.spec)),
            moved_at: write.moved_at,
            mode_before: write.mode_before,
            moving_since: None,
            answer: Answer::Ready,
            message: String::new(),
            is_programmed: true,
            can_run_ipvs: Some(true),
            active_mode: Some(write.spec.mode),
            was_told_before: false,
            made_at: None,
            ready_since: None,
            unready_since: None,
            longest_ready: SignedDuration::ZERO,
        };
        held.set_proxy(&write.node, proxy, now);
    }
}
