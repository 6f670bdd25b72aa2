//! What there is to say. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::contested::{Contested, contested};
use super::leader::Leader;
use super::nodes::{NodeCounts, NodeFinding, Nodes};
use super::observed::Observed;
use super::policies::{PolicyLine, lines};

/// The answer of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    /// Nothing is wrong: no policy, no node, no service, nor the operator. Nodes that are on their way are not wrong.
    pub(super) healthy: bool,
    /// Policies, and `built-in` where nodes have none.
    pub(super) policies: Vec<PolicyLine>,
    /// How many nodes there are, and how many are ready.
    pub(super) nodes: NodeCounts,
    /// Nodes that need a look, what is wrong first.
    pub(super) findings: Vec<NodeFinding>,
    /// Services that lack an address or port because another one has it. Each is wrong.
    pub(super) services: Vec<Contested>,
    /// Who leads the operators.
    pub(super) operator: Leader,
    /// What could not be seen, and how that counts.
    pub(super) notes: Vec<String>,
}

impl StatusReport {
    pub(super) fn of(observed: &Observed, now: Timestamp) -> Self {
        let nodes = Nodes::of(observed, now);
        let policies = lines(observed, &nodes);
        let operator = Leader::of(&observed.leases, now);
        let mut notes = Vec::new();
        match &observed.agents {
            Ok(pods) if pods.is_empty() && !nodes.is_empty() => notes.push(
                "no pod of an agent is there: agents run as processes of the nodes, or not at all, which a node's status cannot tell".to_owned(),
            ),
            Ok(_) => {}
            Err(why) => notes.push(format!(
                "whether the nodes' agents run is not known: {why}"
            )),
        }
        let services = match &observed.services {
            Ok(services) => contested(services),
            Err(why) => {
                notes.push(format!(
                    "whether services ask for the same address and port is not known: {why}"
                ));
                Vec::new()
            }
        };
        let healthy = !operator.wrong
            && services.is_empty()
            && !policies.iter().any(|policy| policy.wrong)
            && !nodes.findings().any(|finding| finding.wrong);
        let mut findings: Vec<NodeFinding> = nodes.findings().cloned().collect();
        findings.sort_by_key(|finding| !finding.wrong);
        Self {
            healthy,
            policies,
            nodes: nodes.counts(),
            findings,
            services,
            operator,
            notes,
        }
    }
}
