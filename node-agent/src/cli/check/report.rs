//! What a node can run, for people and programs.

use std::fmt;

use serde::Serialize;

use super::mode::ModeReport;
use super::node_ports::NodePortConflict;
use crate::trials::{IptablesTrial, IpvsTrials, SysctlTrial, Trial};

/// The report of `check`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReport {
    pub(super) kernel: String,
    /// The variant that an agent with these settings would use.
    pub(super) variant_in_use: String,
    /// Why the node's variant was detected so; absent when nothing was found.
    pub(super) variant_reason: Option<String>,
    pub(super) iptables: Vec<IptablesTrial>,
    pub(super) address_sets: Vec<Trial>,
    /// Rules of the variant in use that ask address sets.
    pub(super) set_match: Trial,
    pub(super) conntrack: Trial,
    /// Which mode the policy means here.
    pub(super) mode: ModeReport,
    /// What it takes to run mode IPVS; without it a node serves in mode `IPTables`.
    pub(super) ipvs: IpvsTrials,
    pub(super) sysctls: Vec<SysctlTrial>,
    /// Settings that this node cannot follow as asked.
    pub(super) conditions: Vec<String>,
    /// What does not fit together, in sentences.
    pub(super) conflicts: Vec<String>,
    pub(super) node_ports: Vec<NodePortConflict>,
    pub(super) can_run: bool,
    /// Why it cannot run.
    pub(super) problems: Vec<String>,
}

impl NodeReport {
    /// The same with its verdict. IPv6 may be absent: such a node serves IPv4.
    pub(super) fn judged(mut self) -> Self {
        let iptables = self
            .iptables
            .iter()
            .filter(|one| one.variant == self.variant_in_use && one.family == "IPv4")
            .map(|one| &one.trial);
        let others = [&self.set_match, &self.conntrack];
        let needed = iptables.chain(&self.address_sets).chain(others);
        self.problems = needed
            .filter(|trial| !trial.works)
            .map(|trial| {
                format!(
                    "{}: {}",
                    trial.name,
                    trial.remark.as_deref().unwrap_or("does not work")
                )
            })
            .collect();
        self.can_run = self.problems.is_empty();
        self
    }
}

impl fmt::Display for NodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {}", self.kernel)?;
        let reason = self.variant_reason.as_deref().unwrap_or("none was found");
        writeln!(
            f,
            "iptables variant {} would be used (detected: {reason})",
            self.variant_in_use
        )?;
        for one in &self.iptables {
            writeln!(f, "{}", one.trial)?;
        }
        let others = [&self.set_match, &self.conntrack];
        for trial in self.address_sets.iter().chain(others) {
            writeln!(f, "{trial}")?;
        }
        write!(f, "{}{}", self.ipvs, self.mode)?;
        for sysctl in &self.sysctls {
            let mark = if sysctl.works { "ok  " } else { "no  " };
            let present = sysctl.present.as_deref().unwrap_or("unknown");
            write!(
                f,
                "{mark}sysctl {}: {present}, wanted {}",
                sysctl.name, sysctl.wanted
            )?;
            match &sysctl.remark {
                Some(remark) => writeln!(f, " ({remark})")?,
                None => writeln!(f)?,
            }
        }
        for condition in self.conditions.iter().chain(&self.conflicts) {
            writeln!(f, "note: {condition}")?;
        }
        for conflict in &self.node_ports {
            writeln!(f, "note: {conflict}")?;
        }
        if self.can_run {
            writeln!(f, "this node can run Sluice")
        } else {
            for problem in &self.problems {
                writeln!(f, "problem: {problem}")?;
            }
            writeln!(f, "this node cannot run Sluice with these settings")
        }
    }
}
