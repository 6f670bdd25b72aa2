//! `sluice-agent cleanup`

use clap::Args;

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::{AddressSets, IpsetNetlink};
use sluice_kernel::iptables::{IptablesError, Variant};
use sluice_kernel::sysctl::{ProcSysctls, Restored, SysctlLedger};

use super::run::Directories;
use super::{CliError, Outcome, exit_code, legacy_tables};
use crate::agent::{PlaneLedger, ledger_path};
use crate::data_plane::{DataPlane, DataPlaneError};
use crate::lock::AgentLock;
use crate::node_plane::NodePlane;

/// What to clean up.
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    directories: Directories,
    /// Also while an agent runs; it will put everything back
    #[arg(long)]
    force: bool,
}

pub(super) fn cleanup(args: &CleanupArgs) -> Result<Outcome, CliError> {
    let _lock = match AgentLock::acquire(&args.directories.run_dir) {
        Ok(lock) => Some(lock),
        Err(error) if args.force => {
            tracing::warn!(%error, "cleaning up all the same");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let mut outcome = Outcome::default();
    let sets_before = set_names()?;
    let mut variants = PlaneLedger::open(&args.directories.state_dir)?;
    let mut errors = Vec::new();
    for variant in [Variant::Legacy, Variant::Nft] {
        if variant == Variant::Legacy && !legacy_tables::are_in_use() {
            variants.remove(variant)?;
            outcome.line(format_args!(
                "iptables legacy: not in use here, so nothing of ours is in it"
            ));
            continue;
        }
        let mut plane = match NodePlane::open(variant, ActiveMode::IPTables) {
            Ok(plane) => plane,
            Err(DataPlaneError::Iptables(IptablesError::NotInstalled { program })) => {
                outcome.line(format_args!(
                    "iptables {variant}: {program} is not installed, so nothing of ours is in it"
                ));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let failed = plane.remove();
        if failed.is_empty() {
            variants.remove(variant)?;
            outcome.line(format_args!("iptables {variant}: no rule of ours is left"));
        }
        errors.extend(failed);
    }
    let left = set_names()?;
    let gone = sets_before
        .iter()
        .filter(|name| !left.contains(name))
        .count();
    outcome.line(format_args!(
        "address sets: {gone} removed, {} left",
        left.len()
    ));
    // A set that the other variant's rules used is gone after these were; what counts is what is left at the end.
    errors.retain(|error| !is_set_in_use(error) || !left.is_empty());
    restore_sysctls(args, &mut outcome)?;
    for error in &errors {
        outcome.line(format_args!("not removed: {error}"));
    }
    if !errors.is_empty() || !left.is_empty() {
        outcome.code = exit_code::NO;
    }
    Ok(outcome)
}

fn set_names() -> Result<Vec<String>, CliError> {
    let headers = IpsetNetlink::open()?.headers("SLUICE-")?;
    Ok(headers.into_iter().map(|header| header.spec.name).collect())
}

fn is_set_in_use(error: &DataPlaneError) -> bool {
    use sluice_kernel::address_set::AddressSetError;
    matches!(
        error,
        DataPlaneError::AddressSet(AddressSetError::InUse { .. })
    )
}

fn restore_sysctls(args: &CleanupArgs, outcome: &mut Outcome) -> Result<(), CliError> {
    let mut ledger = SysctlLedger::open(&ledger_path(&args.directories.state_dir))?;
    for (name, restored) in ledger.restore_all(&mut ProcSysctls::new())? {
        match restored {
            Restored::Original => outcome.line(format_args!("sysctl {name}: as it was")),
            Restored::ChangedByOthers { ours, present } => outcome.line(format_args!(
                "sysctl {name}: left at {present}, which somebody else set after us ({ours})"
            )),
            Restored::Gone => outcome.line(format_args!("sysctl {name}: no longer exists")),
            Restored::Failed(error) => {
                outcome.line(format_args!("not restored: {error}"));
                outcome.code = exit_code::NO;
            }
        }
    }
    Ok(())
}
