//! `sluice-agent render`

use clap::{Args, ValueEnum};

use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::iptables::{Family, IptablesPrograms};

use super::listening::HealthArgs;
use super::node::{mode_of, variant_of};
use super::snapshot::Snapshot;
use super::snapshot_diff::difference;
use super::source::SourceArgs;
use super::{CliError, Outcome, exit_code};
use crate::balancer::ipvs::readback::Readback;
use crate::trials::served_families;

/// What to render.
#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    health: HealthArgs,
    /// Print only what differs from what the kernel holds; exit code 1 if anything does
    #[arg(long)]
    diff: bool,
    /// Only this family [default: those that this kernel has]
    #[arg(long, value_enum, value_name = "FAMILY")]
    family: Option<FamilyFlag>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FamilyFlag {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

pub(super) fn render(args: &RenderArgs) -> Result<Outcome, CliError> {
    let desired = args.source.desired(args.health.port())?;
    let variant = variant_of(&desired);
    let families = match args.family {
        Some(FamilyFlag::Ipv4) => vec![Family::V4],
        Some(FamilyFlag::Ipv6) => vec![Family::V6],
        None => served_families(variant).0,
    };
    let mode = mode_of(&desired);
    let wanted = Snapshot::of_plan(desired.plan(), variant, mode, &families)?;
    let mut outcome = Outcome::default();
    if !args.diff {
        outcome.line(format_args!(
            "# mode {mode}, iptables {variant}, {} services",
            desired.plan().services.len()
        ));
        outcome.text.push_str(&wanted.to_string());
        return Ok(outcome);
    }
    let (mut iptables, mut sets) = (IptablesPrograms::open(variant)?, IpsetNetlink::open()?);
    let balanced = Readback::of_this_node(&families)?;
    let kernel = Snapshot::read(&mut iptables, &mut sets, &balanced, &families)?;
    for line in difference(&kernel, &wanted) {
        outcome.line(format_args!("{line}"));
        outcome.code = exit_code::NO;
    }
    Ok(outcome)
}
