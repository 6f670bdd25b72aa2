//! `sluice-agent cleanup`

use std::io;
use std::path::Path;

use clap::Args;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use sluice_kernel::address_set::{AddressSets, IpsetNetlink};
use sluice_kernel::iptables::{IptablesError, Variant};
use sluice_kernel::sysctl::{ProcSysctls, Restored, SysctlLedger};

use super::proc_sys::ProcSysArgs;
use super::run::Directories;
use super::{CliError, Outcome, cleanup_kube_proxy, exit_code, legacy_tables};
use crate::agent::{PlaneLedger, ledger_path};
use crate::attachments;
use crate::balancer::ipvs::names::DEVICE;
use crate::balancer::ipvs::readback::Readback;
use crate::data_plane::{DataPlane, DataPlaneError};
use crate::family::node_families;
use crate::kube_proxy::SYSCTLS_OF_IPVS_MODE;
use crate::lock::AgentLock;
use crate::node_plane::NodePlane;
use crate::ruleset;
use crate::source::cluster::SettingsFile;

/// What to clean up.
// Flags are on or off: no state hides in them.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    sysctls: ProcSysArgs,
    /// Also while an agent runs; it will put everything back
    #[arg(long)]
    force: bool,
    /// Remove what kube-proxy left instead: rules, chains, address sets, nftables tables. Refused while kube-proxy runs or no rules
    /// of Sluice serve, unless --force
    #[arg(long)]
    kube_proxy: bool,
    /// With --kube-proxy: only list what would go
    #[arg(long, requires = "kube_proxy")]
    dry_run: bool,
    /// When everything is gone, wait until TERM or INT: a pod that shall be on every node must not end
    #[arg(long, conflicts_with = "kube_proxy")]
    stay: bool,
}

pub(super) fn cleanup(args: &CleanupArgs) -> Result<Outcome, CliError> {
    if args.kube_proxy {
        return cleanup_kube_proxy::cleanup(args.dry_run, args.force);
    }
    if !args.stay {
        return remove_ours(args);
    }
    // The first process of a container is not ended by a signal that it does not expect: one that comes meanwhile counts too.
    let end = End::expect().map_err(|source| CliError::System {
        operation: "expect signals",
        source,
    })?;
    let outcome = remove_ours(args)?;
    if outcome.code != exit_code::DONE {
        return Ok(outcome);
    }
    print!("{}", outcome.text);
    end.wait();
    Ok(Outcome::default())
}

/// TERM or INT, from when it is expected.
struct End {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    fn expect() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = runtime.block_on(async {
            let terminate = signal(SignalKind::terminate())?;
            io::Result::Ok((terminate, signal(SignalKind::interrupt())?))
        });
        let (terminate, interrupt) = signals?;
        Ok(Self {
            runtime,
            terminate,
            interrupt,
        })
    }

    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        });
    }
}

fn remove_ours(args: &CleanupArgs) -> Result<Outcome, CliError> {
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
    let balanced = Readback::of_this_node(&node_families())?;
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
        let mut plane = match NodePlane::open_to_remove(variant) {
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
    let handed_over = tell_ipvs(&balanced, &mut outcome)?;
    // A set that the other variant's rules used is gone after these were; what counts is what is left at the end.
    errors.retain(|error| !error.is_set_in_use() || !left.is_empty());
    let needed: &[&str] = if handed_over {
        &SYSCTLS_OF_IPVS_MODE
    } else {
        &[]
    };
    restore_sysctls(args, needed, &mut outcome)?;
    for error in &errors {
        outcome.line(format_args!("not removed: {error}"));
    }
    if errors.is_empty() && left.is_empty() {
        variants.forget()?;
        forget_notes(&args.directories.run_dir)?;
        SettingsFile::new(&args.directories.state_dir)
            .forget()
            .map_err(|source| CliError::System {
                operation: "remove the last settings",
                source,
            })?;
        attachments::forget(&args.directories.run_dir, &args.directories.state_dir).map_err(
            |source| CliError::System {
                operation: "remove what only the CNI plugin and an agent need",
                source,
            },
        )?;
    } else {
        outcome.code = exit_code::NO;
    }
    Ok(outcome)
}

/// What of IPVS went, and what stays because it is not ours. Returns whether something stays to kube-proxy.
fn tell_ipvs(before: &Readback, outcome: &mut Outcome) -> Result<bool, CliError> {
    let now = Readback::of_this_node(&node_families())?;
    let former = before.servers.keys().map(|key| &key.server);
    let handed_over = former
        .filter(|server| now.foreign_servers.contains(server))
        .count();
    if !(before.servers.is_empty() && before.bindings.is_empty()) {
        let stay = now.servers.len() + handed_over;
        let servers = before.servers.len() - stay.min(before.servers.len());
        let addresses = before.bindings.len() - now.bindings.len().min(before.bindings.len());
        outcome.line(format_args!(
            "IPVS: {servers} virtual servers and {addresses} service addresses removed, {} left",
            now.servers.len() + now.bindings.len()
        ));
    }
    for what in &now.foreign_on_device {
        outcome.line(format_args!("{DEVICE} stays: {what} is not ours"));
    }
    if handed_over > 0 {
        outcome.line(format_args!(
            "IPVS: {handed_over} virtual servers stay to kube-proxy, whose address sets name them"
        ));
    }
    let foreign = now.foreign_servers.len() - handed_over;
    if foreign > 0 {
        outcome.line(format_args!(
            "IPVS: {foreign} virtual servers that are not ours stay"
        ));
    }
    Ok(handed_over > 0)
}

/// The notes by which a restart would know what the kernel holds.
fn forget_notes(run_dir: &Path) -> Result<(), CliError> {
    for variant in [Variant::Legacy, Variant::Nft] {
        ruleset::forget(run_dir, variant).map_err(|source| CliError::System {
            operation: "remove the notes in the run directory",
            source,
        })?;
    }
    Ok(())
}

fn set_names() -> Result<Vec<String>, CliError> {
    let headers = IpsetNetlink::open()?.headers("SLUICE-")?;
    Ok(headers.into_iter().map(|header| header.spec.name).collect())
}

/// But for those that kube-proxy needs, which does not look at them again.
fn restore_sysctls(
    args: &CleanupArgs,
    needed: &[&str],
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let mut ledger = SysctlLedger::open(&ledger_path(&args.directories.state_dir))?;
    for name in needed {
        if ledger.forget(name)? {
            outcome.line(format_args!("sysctl {name}: stays as kube-proxy needs it"));
        }
    }
    for (name, restored) in ledger.restore_all(&mut ProcSysctls::below(&args.sysctls.proc_sys))? {
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
