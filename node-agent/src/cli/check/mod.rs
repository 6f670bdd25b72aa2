//! `sluice-agent check`

mod conflicts;
mod mode;
mod node_ports;
mod report;

use std::path::Path;

use clap::Args;

use sluice_crds::v1alpha1::Mode;
use sluice_kernel::iptables::detect_variant;
use sluice_kernel::sysctl::ProcSysctls;

use self::report::NodeReport;
use super::node::variant_of;
use super::output::{Output, json};
use super::proc_sys::ProcSysArgs;
use super::show::mode_in_force;
use super::source::SourceArgs;
use super::{CliError, Outcome, exit_code};
use crate::agent::{Desired, forwarding_conditions};
use crate::cpus;
use crate::settings::wanted_sysctls;
use crate::trials::{self, SysctlTrial};

const BY_FLAGS: &str = "by flags alone, not by a policy: say where the node's settings come from, by --kubeconfig FILE, --in-cluster or --manifests DIR";

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Without any, by flags alone
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    sysctls: ProcSysArgs,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

pub(super) fn check(args: &CheckArgs) -> Result<Outcome, CliError> {
    let (desired, is_by_flags) = args.source.desired_or_by_flags()?;
    let mut report = look(&desired, &args.sysctls.proc_sys)?;
    if is_by_flags {
        report.conditions.insert(0, BY_FLAGS.to_owned());
    }
    let text = match args.output {
        Output::Text => report.to_string(),
        Output::Json => json(&report)?,
    };
    Ok(Outcome {
        text,
        code: if report.can_run {
            exit_code::DONE
        } else {
            exit_code::NO
        },
    })
}

fn look(desired: &Desired, proc_sys: &Path) -> Result<NodeReport, CliError> {
    let detected = detect_variant().ok();
    let variant = variant_of(desired);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|source| {
        CliError::System {
            operation: "read the kernel's version",
            source,
        }
    })?;
    let node_ports = node_ports::conflicts(desired.plan()).map_err(|source| CliError::System {
        operation: "list the node's sockets",
        source,
    })?;
    let ipvs = trials::ipvs(desired.settings(), variant);
    let mode = mode::mode(
        &desired.settings().mode,
        desired.plan().services.len(),
        mode_in_force()?,
        match desired.settings().mode.mode {
            Mode::Auto => ipvs.suits_auto,
            Mode::IPTables | Mode::IPVS => ipvs.can_run,
        },
    );
    let mut conditions = desired.conditions();
    let mut of_node = ProcSysctls::below(proc_sys);
    conditions.extend(forwarding_conditions(desired.node(), &mut of_node));
    let report = NodeReport {
        kernel: kernel.trim().to_owned(),
        variant_in_use: variant.to_string(),
        variant_reason: detected.map(|(_, reason)| reason.to_string()),
        iptables: trials::iptables(),
        address_sets: trials::address_sets(),
        set_match: trials::set_match(variant),
        conntrack: trials::conntrack(),
        mode,
        ipvs,
        sysctls: sysctls(desired, proc_sys),
        conditions,
        conflicts: conflicts::notes(desired.plan(), variant),
        node_ports,
        can_run: false,
        problems: Vec::new(),
    };
    Ok(report.judged())
}

fn sysctls(desired: &Desired, proc_sys: &Path) -> Vec<SysctlTrial> {
    wanted_sysctls(desired.settings(), cpus::online())
        .into_iter()
        .map(|(name, value)| trials::sysctl(proc_sys, name, value))
        .collect()
}
