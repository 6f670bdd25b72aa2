//! The way of one packet, and what it rests on.

use std::fmt::Write as _;

use serde::Serialize;
use sluice_service_plan::packet::Packet;
use sluice_service_plan::trace::{Trace, Verdict};

use super::planned::{HEALTH_PORT, Planned};
use crate::style::Style;

/// The answer of `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainReport {
    /// The node that the packet enters.
    node: String,
    /// How it serves.
    settings: String,
    /// The packet.
    packet: String,
    /// Why, in the order in which it is decided.
    steps: Vec<String>,
    /// What happens: `Balance`, `Reject`, `Drop` or `NotOurs`.
    verdict: &'static str,
    /// The same for people.
    message: String,
    /// Where it may go.
    endpoints: Vec<EndpointLine>,
    /// What is taken for granted.
    assumptions: Vec<String>,
    /// Objects that no agent can use, so that they are not served.
    refused: Vec<String>,
    #[serde(skip)]
    endpoint_lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointLine {
    address: String,
    /// Its share among the weights of all.
    weight: u64,
    /// It is on this node.
    local: bool,
    /// It sees an address of the node for a source.
    masqueraded: bool,
}

impl ExplainReport {
    pub(super) fn of(node: &str, packet: &Packet, planned: &Planned) -> Self {
        let plan = planned.plan();
        let trace = planned.trace(packet);
        let mut assumptions = planned.assumptions.clone();
        if let Some(class) = &packet.class
            && !plan
                .settings
                .pod_classes
                .iter()
                .any(|one| one.name == *class)
        {
            assumptions.push(format!("the policy has no pod class {class}"));
        }
        if packet.destination.port() == HEALTH_PORT {
            assumptions.push(format!(
                "the node's agent tells of its health on port {HEALTH_PORT} (the chart's agent.healthPort)"
            ));
        }
        Self {
            node: node.to_owned(),
            settings: planned.settings.clone(),
            packet: packet.to_string(),
            steps: trace.steps.iter().map(ToString::to_string).collect(),
            verdict: word(&trace.verdict),
            message: trace.verdict.to_string(),
            endpoints: endpoints(&trace),
            assumptions,
            refused: planned.refused.clone(),
            endpoint_lines: trace.endpoint_lines(),
        }
    }

    pub(super) fn text(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "{}", style.title(&self.packet));
        let _ = writeln!(text, "on {} ({})", self.node, self.settings);
        for (number, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "{:3}. {step}", number + 1);
        }
        let verdict = match self.verdict {
            "Balance" | "NotOurs" => style.good(&self.message),
            _ => style.bad(&self.message),
        };
        let _ = writeln!(text, "verdict: {verdict}");
        for line in &self.endpoint_lines {
            let _ = writeln!(text, "  {line}");
        }
        for assumption in &self.assumptions {
            let _ = writeln!(text, "Taken for granted: {assumption}");
        }
        for refused in &self.refused {
            let _ = writeln!(text, "Not served: {refused}");
        }
        let _ = writeln!(
            text,
            "`kubectl sluice diff --node {}` tells whether the node does so.",
            self.node
        );
        text
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Balance { .. } => "Balance",
        Verdict::Reject => "Reject",
        Verdict::Drop => "Drop",
        Verdict::NotOurs => "NotOurs",
    }
}

fn endpoints(trace: &Trace) -> Vec<EndpointLine> {
    let Verdict::Balance { endpoints, .. } = &trace.verdict else {
        return Vec::new();
    };
    let line = |endpoint| trace.masqueraded(endpoint);
    endpoints
        .iter()
        .map(|endpoint| EndpointLine {
            address: endpoint.address.to_string(),
            weight: endpoint.weight.into(),
            local: endpoint.is_local(),
            masqueraded: line(endpoint),
        })
        .collect()
}
