//! Nodes: which are ready, and what is the matter with the others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;
use sluice_crds::v1alpha1::conditions::{HEALTHY, PROGRAMMED, SUPPORTED};
use sluice_crds::v1alpha1::{
    MOVED_AT, NOT_READY_TAINT, NodeServiceProxy, NodeServiceProxyStatus, can_have_agent,
};

use super::last_words::last_words;
use super::observed::Observed;
use crate::age::seconds_since;

/// A kernel that is still being programmed after so long needs somebody.
const PENDING_SECONDS: u64 = 120;
/// Who has said nothing so long after being told has no agent, also by a clock that is minutes off.
const SILENT_SECONDS: u64 = 600;
const AGENT_NOT_READY: &str = "AgentNotReady";
const WITHOUT_AGENT: &str = "WithoutAgent";

/// How many nodes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeCounts {
    /// Those that Sluice is for: those where no agent can be are left out.
    pub(super) total: usize,
    /// Those that have their revision, programmed and healthy.
    pub(super) ready: usize,
}

/// Something about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeFinding {
    /// Its name.
    pub(super) node: String,
    /// The policy that counts for it, if it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    /// It needs somebody; else it passes, or is for information.
    pub(super) wrong: bool,
    /// A word for it.
    pub(super) reason: String,
    /// What is the matter, in a sentence.
    pub(super) message: String,
    /// For how long, seconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) for_seconds: Option<u64>,
}

/// A node as Sluice sees it.
pub(super) struct NodeLook<'a> {
    pub(super) proxy: Option<&'a NodeServiceProxy>,
    pub(super) is_ready: bool,
    findings: Vec<NodeFinding>,
    /// What is told instead where others are served: then it is not the agents that are missing.
    passed_over: Option<NodeFinding>,
}

impl NodeLook<'_> {
    /// Nobody has ever heard of an agent there, while other nodes have one.
    pub(super) fn is_passed_over(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.reason == WITHOUT_AGENT)
    }

    pub(super) fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.wrong)
    }
}

/// All of them, by name.
pub(super) struct Nodes<'a>(BTreeMap<String, NodeLook<'a>>);

impl<'a> Nodes<'a> {
    pub(super) fn of(observed: &'a Observed, now: Timestamp) -> Self {
        let proxies: BTreeMap<String, &NodeServiceProxy> = observed
            .proxies
            .iter()
            .map(|proxy| (proxy.name_any(), proxy))
            .collect();
        let agents = observed.agents.as_deref().unwrap_or_default();
        let ours = observed
            .nodes
            .iter()
            .filter(|node| can_have_agent(node.labels()));
        let looks = ours.map(|node| {
            let look = Look {
                node,
                proxy: proxies.get(&node.name_any()).copied(),
                agents,
                now,
            };
            (node.name_any(), look.finish())
        });
        let mut looks: BTreeMap<_, _> = looks.collect();
        if looks.values().any(|look: &NodeLook<'_>| look.is_ready) {
            for look in looks.values_mut() {
                if let Some(instead) = look.passed_over.take() {
                    look.findings = vec![instead];
                }
            }
        }
        Self(looks)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn counts(&self) -> NodeCounts {
        NodeCounts {
            total: self.0.len(),
            ready: self.0.values().filter(|look| look.is_ready).count(),
        }
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &NodeFinding> {
        self.0.values().flat_map(|look| &look.findings)
    }

    /// Those that a policy counts for.
    pub(super) fn of_policy<'s>(
        &'s self,
        policy: &'s str,
    ) -> impl Iterator<Item = &'s NodeLook<'a>> {
        self.0
            .values()
            .filter(move |look| look.proxy.is_some_and(|proxy| proxy.spec.policy == policy))
    }

    /// Names of all policies that nodes were told.
    pub(super) fn policies(&self) -> BTreeSet<&str> {
        let proxies = self.0.values().filter_map(|look| look.proxy);
        proxies.map(|proxy| proxy.spec.policy.as_str()).collect()
    }
}

struct Look<'a> {
    node: &'a Node,
    proxy: Option<&'a NodeServiceProxy>,
    agents: &'a [Pod],
    now: Timestamp,
}

impl<'a> Look<'a> {
    fn finish(self) -> NodeLook<'a> {
        let mut findings = self.findings();
        let mut passed_over = self.without_agent();
        // Of a node that is away nothing is news but that.
        if let Some(away) = self.unreachable() {
            // But a kubelet that answers knows its pods, and may wait for this one.
            let known = findings.into_iter().filter(|finding| {
                finding.reason == AGENT_NOT_READY && self.readiness() == Some("False")
            });
            findings = [away].into_iter().chain(known).collect();
            passed_over = None;
        }
        NodeLook {
            passed_over,
            proxy: self.proxy,
            is_ready: findings
                .iter()
                .all(|finding| finding.reason == "SettingsNotInForce")
                && self.proxy.is_some(),
            findings,
        }
    }

    fn finding(
        &self,
        wrong: bool,
        reason: &str,
        message: String,
        since: Option<Timestamp>,
    ) -> NodeFinding {
        NodeFinding {
            node: self.node.name_any(),
            policy: self.proxy.map(|proxy| proxy.spec.policy.clone()),
            wrong,
            reason: reason.to_owned(),
            message,
            for_seconds: since.map(|since| seconds_since(since, self.now)),
        }
    }

    /// Neither a word nor a pod of an agent, and nobody waits for one.
    fn without_agent(&self) -> Option<NodeFinding> {
        let proxy = self.proxy?;
        let told = proxy.creation_timestamp()?.0;
        let is_silent =
            proxy.status.clone().unwrap_or_default() == NodeServiceProxyStatus::default();
        let taints = self
            .node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten());
        let is_awaited = taints.into_iter().any(|taint| taint.key == NOT_READY_TAINT);
        let is_late = seconds_since(told, self.now) >= SILENT_SECONDS;
        (is_silent && is_late && !is_awaited && self.agent().is_none()).then(|| {
            let message = "no agent has ever reported from it, so it is passed over: look at the DaemonSet's tolerations and node selector if one should run \
                           there"
                .to_owned();
            self.finding(false, WITHOUT_AGENT, message, Some(told))
        })
    }

    fn ready(&self) -> Option<&NodeCondition> {
        let conditions = self.node.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|one| one.type_ == "Ready")
    }

    fn readiness(&self) -> Option<&str> {
        self.ready().map(|ready| ready.status.as_str())
    }

    /// As the operator sees it: the node is not ready, or nobody knows.
    fn unreachable(&self) -> Option<NodeFinding> {
        let ready = self.ready()?;
        (ready.status != "True").then(|| {
            let since = ready.last_transition_time.as_ref().map(|time| time.0);
            let message =
                "the node is not ready or cannot be reached; what its agent said last may be old"
                    .to_owned();
            self.finding(false, "Unreachable", message, since)
        })
    }

    fn findings(&self) -> Vec<NodeFinding> {
        let mut findings: Vec<NodeFinding> = self.pod().into_iter().collect();
        let Some(proxy) = self.proxy else {
            let since = self.node.creation_timestamp().map(|time| time.0);
            let message = "no operator has told it how to serve: see whether one runs, and its log"
                .to_owned();
            findings.push(self.finding(true, "NotTold", message, since));
            return findings;
        };
        let status = proxy.status.clone().unwrap_or_default();
        let moved = proxy
            .annotations()
            .get(MOVED_AT)
            .and_then(|time| time.parse().ok());
        let Some(observed) = &status.observed_revision else {
            let message =
                "no agent has reported from it yet: see whether one runs there, and its log"
                    .to_owned();
            let since = moved.or(proxy.creation_timestamp().map(|time| time.0));
            // Where its pod says why, that is enough.
            if findings.is_empty() {
                findings.push(self.finding(true, "NoReport", message, since));
            }
            return findings;
        };
        if *observed != proxy.spec.revision {
            let message = format!("it has {observed} and shall have {}", proxy.spec.revision);
            findings.push(self.finding(false, "Behind", message, moved));
        }
        let mut said = BTreeSet::new();
        for kind in [SUPPORTED, PROGRAMMED, HEALTHY] {
            let condition = status.conditions.iter().find(|one| one.type_ == kind);
            // The same sentence in two conditions is one matter.
            if let Some(finding) = self.condition(kind, condition)
                && said.insert(condition.map(|condition| condition.message.clone()))
            {
                findings.push(finding);
            }
        }
        findings
    }

    fn condition(&self, kind: &str, condition: Option<&Condition>) -> Option<NodeFinding> {
        let Some(condition) = condition else {
            let message = format!("its agent has not said whether it is {kind}");
            return Some(self.finding(false, "NotSaid", message, None));
        };
        let since = condition.last_transition_time.0;
        let generation = self.proxy.and_then(|proxy| proxy.metadata.generation);
        let speaks_of_now = condition.observed_generation == generation;
        let is_true = condition.status == "True";
        if is_true && condition.reason == "SettingsNotInForce" {
            return Some(self.finding(
                false,
                &condition.reason,
                condition.message.clone(),
                Some(since),
            ));
        }
        if is_true && speaks_of_now {
            return None;
        }
        if is_true {
            let message = format!(
                "its agent has not said yet whether it is {kind} with the present settings"
            );
            return Some(self.finding(false, "Behind", message, None));
        }
        let lasts = seconds_since(since, self.now);
        let passes = condition.status != "False"
            || (condition.reason == "Pending" && lasts < PENDING_SECONDS);
        let message = format!("not {kind}: {}", condition.message);
        Some(self.finding(!passes, &condition.reason, message, Some(since)))
    }

    /// The pod of its agent.
    fn agent(&self) -> Option<&'a Pod> {
        let name = self.node.name_any();
        let on_it =
            |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
        self.agents.iter().find(on_it)
    }

    /// What is wrong with the pod of its agent, where agents are pods.
    fn pod(&self) -> Option<NodeFinding> {
        if self.agents.is_empty() {
            return None;
        }
        let Some(pod) = self.agent() else {
            let message = "no pod of an agent is on it: look at the DaemonSet's tolerations and node selector".to_owned();
            return Some(self.finding(true, "NoAgent", message, None));
        };
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let ready = conditions?.iter().find(|one| one.type_ == "Ready")?;
        (ready.status == "False").then(|| {
            let name = pod.name_any();
            let namespace = pod.namespace().unwrap_or_default();
            let ended = last_words(pod)
                .map(|(container, words)| format!(" ({container} ended: {words})"))
                .unwrap_or_default();
            let message = format!(
                "the pod of its agent is not ready{ended}: kubectl -n {namespace} describe pod {name}"
            );
            let since = ready.last_transition_time.as_ref().map(|time| time.0);
            self.finding(true, AGENT_NOT_READY, message, since)
        })
    }
}
