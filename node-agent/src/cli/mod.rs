//! The command line.

mod check;
mod cleanup;
mod cleanup_kube_proxy;
mod convert;
mod explain;
mod ipvs_objects;
mod ipvs_words;
mod legacy_tables;
mod listening;
mod logging;
mod nat_rule;
mod node;
mod objects;
mod output;
mod proc_sys;
mod render;
mod run;
mod show;
mod snapshot;
mod snapshot_diff;
mod source;

use std::fmt::Write;
use std::io;

use clap::{Parser, Subcommand};

use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::IptablesError;
use sluice_kernel::links::LinkError;
use sluice_kernel::sysctl::LedgerError as SysctlLedgerError;
use sluice_kube_proxy_config::ConvertError;

use crate::agent::{AgentError, LedgerError};
use crate::data_plane::DataPlaneError;
use crate::kube_proxy::Running;
use crate::lock::LockError;
use crate::settings::FlagsError;
use crate::source::cluster::OpenError;
use crate::source::{ManifestError, SourceError};

/// What the exit codes mean.
pub mod exit_code {
    /// Done; the answer is yes.
    pub const DONE: u8 = 0;
    /// Done; the answer is no.
    pub const NO: u8 = 1;
    /// Could not be done. Wrong usage ends so too.
    pub const FAILED: u8 = 2;
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and the answer is no: `render --diff` found differences, `check` found that the node cannot run,
     `show` found nothing of ours, `cleanup` could not remove everything
  2  could not be done, or wrong usage";

/// Serves Kubernetes Services on one node by rules in its kernel.
#[derive(Debug, Parser)]
#[command(name = "sluice-agent", version, about, long_about = None, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logging: logging::LoggingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Services of this node until TERM or INT; the rules stay in the kernel
    Run(run::RunArgs),
    /// Print what would be programmed, without touching the kernel
    Render(render::RenderArgs),
    /// Tell what happens to one packet, step by step, and which kernel objects do it
    Explain(explain::ExplainArgs),
    /// Tell what this node can run, and which local sockets sit on node ports
    Check(check::CheckArgs),
    /// Print what of ours the kernel holds: frontends, servers, weights, connections. Needs no agent
    Show(show::ShowArgs),
    /// Remove everything of ours from the kernel, and only that; or with --kube-proxy what kube-proxy left
    Cleanup(cleanup::CleanupArgs),
    /// Make a policy and flags of kube-proxy's configuration, and tell what has no equivalent
    Convert(convert::ConvertArgs),
}

/// What a command says, and how the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// One of [`exit_code`].
    pub code: u8,
}

impl Outcome {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Flags that contradict each other or the node.
    #[error(transparent)]
    Flags(#[from] FlagsError),
    /// Manifests.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// How to reach an API server.
    #[error(transparent)]
    Access(#[from] OpenError),
    /// Nothing says where Services come from.
    #[error("say where Services come from: --kubeconfig FILE, --in-cluster, or --manifests DIR")]
    NoSource,
    /// What the source told.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An API server that does not answer.
    #[error(
        "the API server has not listed everything within {0} s: see the lines above for why, and give its address by --api-server where that of \
         the kubeconfig or the pod is a Service's"
    )]
    NoAnswer(u64),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// An agent runs.
    #[error("{0}, or add --force")]
    Lock(#[from] LockError),
    /// The data plane.
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    /// The packet filter.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
    /// Address sets.
    #[error(transparent)]
    AddressSets(#[from] AddressSetError),
    /// The node's addresses.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// The note of old sysctl values.
    #[error(transparent)]
    SysctlLedger(#[from] SysctlLedgerError),
    /// The note of variants in use.
    #[error(transparent)]
    PlaneLedger(#[from] LedgerError),
    /// `--node-name` is absent and the host has no usable name.
    #[error("the host has no usable name: give --node-name")]
    NoNodeName,
    /// Log filter.
    #[error("RUST_LOG or --log-level cannot be understood: {0}")]
    LogFilter(String),
    /// kube-proxy's configuration.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// What kube-proxy has programmed cannot go while it runs.
    #[error(
        "kube-proxy runs on this node ({0}) and would put everything back: stop it first, or add --force"
    )]
    KubeProxyRuns(Running),
    /// Services would be cut.
    #[error(
        "no rules of Sluice are in the kernel, so what kube-proxy left is all that serves: start sluice-agent and wait until /healthz \
         says 200, or add --force"
    )]
    NothingServes,
    /// kube-proxy's IPVS mode.
    #[error(
        "kube-proxy ran in IPVS mode here, and whose these virtual servers are cannot be told: {0}; delete those that are kube-proxy's with \
         `ipvsadm -D` and run this again, or add --force, which leaves them, with their addresses, to whoever made them"
    )]
    UnclearVirtualServers(String),
    /// Something of the system.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<Outcome, CliError> {
        logging::start(&self.logging)?;
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Render(args) => render::render(&args),
            Command::Explain(args) => explain::explain(&args),
            Command::Check(args) => check::check(&args),
            Command::Show(args) => show::show(&args),
            Command::Cleanup(args) => cleanup::cleanup(&args),
            Command::Convert(args) => convert::convert(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
