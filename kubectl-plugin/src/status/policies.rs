//! Policies: their nodes, and how their rollout goes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;
use sluice_crds::v1alpha1::conditions::{ACCEPTED, READY, RECONCILING, STALLED};
use sluice_crds::v1alpha1::{ModeCount, ServiceProxyPolicy};

use super::nodes::{NodeLook, Nodes};
use super::observed::Observed;

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyLine {
    /// Its name.
    pub(super) name: String,
    /// The mode that it asks for; absent for nodes without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    /// Nodes that it counts for.
    pub(super) nodes: usize,
    /// Of them, those that have its newest revision.
    pub(super) updated: usize,
    /// Of them, those that are programmed and healthy.
    pub(super) ready: usize,
    /// How many of them run what.
    pub(super) modes: Vec<ModeCount>,
    /// Where it is.
    pub(super) state: PolicyState,
    /// It needs somebody.
    pub(super) wrong: bool,
    /// Why it is there.
    pub(super) message: String,
}

/// Where a policy's rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum PolicyState {
    Ready,
    Moving,
    Paused,
    RollingBack,
    RolledBack,
    Stalled,
    NotReady,
    Overridden,
    Invalid,
    NotLookedAt,
}

impl PolicyState {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Moving => "moving",
            Self::Paused => "paused",
            Self::RollingBack => "rolling back",
            Self::RolledBack => "rolled back",
            Self::Stalled => "stalled",
            Self::NotReady => "not ready",
            Self::Overridden => "overridden",
            Self::Invalid => "invalid",
            Self::NotLookedAt => "not looked at",
        }
    }

    fn is_wrong(self) -> bool {
        match self {
            Self::Ready | Self::Moving | Self::Paused | Self::Overridden => false,
            Self::RollingBack
            | Self::RolledBack
            | Self::Stalled
            | Self::NotReady
            | Self::Invalid
            | Self::NotLookedAt => true,
        }
    }
}

/// Of all policies, by priority and then by name, and last of nodes that no policy counts for.
pub(super) fn lines(observed: &Observed, nodes: &Nodes<'_>) -> Vec<PolicyLine> {
    let mut policies: Vec<&ServiceProxyPolicy> = observed.policies.iter().collect();
    policies.sort_by_key(|policy| (-i64::from(policy.spec.priority), policy.name_any()));
    let mut lines: Vec<PolicyLine> = policies.iter().map(|policy| line(policy)).collect();
    for name in nodes.policies() {
        if !lines.iter().any(|line| line.name == name) {
            lines.push(without_object(name, nodes));
        }
    }
    lines
}

fn line(policy: &ServiceProxyPolicy) -> PolicyLine {
    let status = policy.status.clone().unwrap_or_default();
    let (state, message) = state(policy, &status.conditions);
    let number = |count: Option<u32>| {
        count
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or_default()
    };
    PolicyLine {
        name: policy.name_any(),
        mode: serde_json::to_value(policy.spec.mode)
            .ok()
            .and_then(|mode| mode.as_str().map(str::to_owned)),
        nodes: number(status.matched_nodes),
        updated: number(status.updated_nodes),
        ready: number(status.ready_nodes),
        modes: status.modes,
        state,
        wrong: state.is_wrong(),
        message,
    }
}

fn state(policy: &ServiceProxyPolicy, conditions: &[Condition]) -> (PolicyState, String) {
    let observed = policy
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if observed != policy.metadata.generation {
        let message =
            "no operator has looked at its present spec: see whether one runs, and its log";
        return (PolicyState::NotLookedAt, message.to_owned());
    }
    let find = |kind: &str| conditions.iter().find(|one| one.type_ == kind);
    let is = |kind: &str, status: &str| find(kind).filter(|one| one.status == status);
    let said = |state, condition: &Condition| (state, condition.message.clone());
    if let Some(accepted) = is(ACCEPTED, "False") {
        let state = if accepted.reason == "Overridden" {
            PolicyState::Overridden
        } else {
            PolicyState::Invalid
        };
        return said(state, accepted);
    }
    let moves = is(RECONCILING, "True");
    if let Some(stalled) = is(STALLED, "True") {
        let state = match (stalled.reason.as_str(), moves) {
            ("RolledBack", Some(_)) => PolicyState::RollingBack,
            ("RolledBack", None) => PolicyState::RolledBack,
            _ => PolicyState::Stalled,
        };
        return said(state, stalled);
    }
    if let Some(moves) = moves {
        return said(PolicyState::Moving, moves);
    }
    if let Some(paused) = find(RECONCILING).filter(|one| one.reason == "Paused") {
        return said(PolicyState::Paused, paused);
    }
    match find(READY) {
        Some(ready) if ready.status == "True" => said(PolicyState::Ready, ready),
        Some(ready) => said(PolicyState::NotReady, ready),
        None => (
            PolicyState::NotLookedAt,
            "its status says nothing".to_owned(),
        ),
    }
}

/// Of nodes whose policy is no object, which is so for `built-in`.
fn without_object(name: &str, nodes: &Nodes<'_>) -> PolicyLine {
    let mut modes = BTreeMap::new();
    let (mut count, mut updated, mut ready, mut passed_over) = (0, 0, 0, 0);
    for look in nodes.of_policy(name) {
        count += 1;
        ready += usize::from(look.is_ready);
        passed_over += usize::from(look.is_passed_over());
        let Some(proxy) = look.proxy else { continue };
        let status = proxy.status.as_ref();
        let observed = status.and_then(|status| status.observed_revision.as_ref());
        updated += usize::from(observed == Some(&proxy.spec.revision));
        if let Some(mode) = status.and_then(|status| status.active_mode) {
            modes.entry(mode.to_string()).or_insert((mode, 0)).1 += 1;
        }
    }
    let state = if ready + passed_over == count {
        PolicyState::Ready
    } else if nodes.of_policy(name).any(NodeLook::is_wrong) {
        PolicyState::NotReady
    } else {
        PolicyState::Moving
    };
    PolicyLine {
        name: name.to_owned(),
        mode: None,
        nodes: count,
        updated,
        ready,
        modes: modes
            .into_values()
            .map(|(mode, nodes)| ModeCount { mode, nodes })
            .collect(),
        state,
        wrong: state.is_wrong(),
        message: "no policy counts for these nodes, so they run the defaults".to_owned(),
    }
}
