//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sluice_api_access::KubectlAccess;

use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::output::Output;
use crate::style::Style;
use crate::{diff, explain, migrate, status};

/// What the exit codes mean.
pub mod exit_code {
    /// Done; all is well.
    pub const DONE: u8 = 0;
    /// Done; something is wrong, or differs.
    pub const NO: u8 = 1;
    /// Could not be done. Wrong usage ends so too.
    pub const FAILED: u8 = 2;
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and something is wrong (`status`) or differs (`diff`)
  2  could not be done, or wrong usage

Only `diff` needs more than the right to read: it runs a command in the pod of a node's agent. Colour is for terminals, and not there where
NO_COLOR is set.";

/// What people ask of Sluice in a cluster.
#[derive(Debug, Parser)]
#[command(name = "kubectl-sluice", bin_name = "kubectl sluice", version, about, long_about = None, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Debug, Args)]
struct GlobalArgs {
    /// The kubeconfig, as kubectl takes it [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Policies, modes and rollouts at a glance, and which nodes need a look
    Status,
    /// Tell what must happen to one packet on a node, step by step, by the objects of the API server
    Explain(explain::ExplainArgs),
    /// Compare what a node should hold with what it holds, as the API server tells and as its agent sees in the kernel
    Diff(diff::DiffArgs),
    /// Advice for the way from kube-proxy: the policy that says the same, services to look at, the steps in order. Changes nothing
    Migrate(migrate::MigrateArgs),
}

/// What a command says, and how the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// One of [`exit_code`].
    pub code: u8,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<Outcome, PluginError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PluginError::Runtime)?;
        runtime.block_on(self.answer())
    }

    async fn answer(self) -> Result<Outcome, PluginError> {
        let access = KubectlAccess {
            kubeconfig: self.global.kubeconfig,
            context: self.global.context,
        };
        let cluster = Cluster::open(&access).await?;
        let (output, style) = (self.global.output, Style::of_terminal());
        match self.command {
            Command::Status => status::status(&cluster, output, style).await,
            Command::Explain(args) => explain::explain(&cluster, &args, output, style).await,
            Command::Diff(args) => diff::diff(&cluster, &args, output, style).await,
            Command::Migrate(args) => migrate::migrate(&cluster, &args, output, style).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
