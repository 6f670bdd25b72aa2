//! The command line.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use sluice_api_access::Access;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use crate::run::{OperatorError, Options, run};
use crate::verify::{self, VerifyError};

/// Tells each node of a cluster how to serve Services, as policies say, step by step.
#[derive(Debug, Parser)]
#[command(name = "sluice-operator", version, about, long_about = None)]
pub struct Cli {
    /// Operate the cluster of this kubeconfig [default: the one that this is a pod of]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Address of the API server, instead of the one that kubeconfig or pod name: a Service's works only where something serves Services
    #[arg(long, value_name = "URL", env = "SLUICE_API_SERVER")]
    api_server: Option<String>,
    /// Namespace of the lease and of kept revisions [default: the pod's, else sluice-system]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Who this is among several replicas [default: host name and process]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
    /// Let one of several replicas write
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    leader_election: bool,
    /// Where /healthz, /readyz and /metrics answer; `off` nowhere
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT", value_parser = address)]
    bind_address: OptionalAddress,
    /// Remove the taint node.sluice.dev/agent-not-ready from nodes whose agent has programmed everything
    #[arg(long)]
    remove_node_taint: bool,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORM")]
    log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,sluice_operator=debug`
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info,kube=error",
        value_name = "FILTER"
    )]
    log_level: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell whether every node does what it was told, and end: with 0 if so. Nothing is written
    Verify {
        /// How long nodes may be on their way
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        wait: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct OptionalAddress(Option<SocketAddr>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

fn address(text: &str) -> Result<OptionalAddress, String> {
    if text == "off" {
        return Ok(OptionalAddress(None));
    }
    let address = text.parse();
    let address =
        address.map_err(|_| "is not ADDRESS:PORT: write 0.0.0.0:8080, [::]:8080 or `off`")?;
    Ok(OptionalAddress(Some(address)))
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Log filter.
    #[error("RUST_LOG or --log-level cannot be understood: {0}")]
    LogFilter(String),
    /// Threads.
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    /// The operator.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// `verify`.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl Cli {
    /// Runs until a signal, or does what the command says.
    pub fn run(self) -> Result<(), CliError> {
        self.log()?;
        if let Some(Command::Verify { wait }) = self.command {
            let options = verify::Options {
                access: Access {
                    kubeconfig: self.kubeconfig,
                    server: self.api_server,
                },
                namespace: self.namespace,
                patience: Duration::from_secs(wait),
            };
            let found = runtime()?.block_on(verify::verify(options))?;
            println!("{found}");
            return Ok(());
        }
        let identity = self.identity.unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        });
        let options = Options {
            access: Access {
                kubeconfig: self.kubeconfig,
                server: self.api_server,
            },
            namespace: self.namespace,
            identity,
            leader_election: self.leader_election,
            bind_address: self.bind_address.0,
            remove_node_taint: self.remove_node_taint,
        };
        let runtime = runtime()?;
        let result = runtime.block_on(run(options));
        runtime.shutdown_background();
        Ok(result?)
    }

    fn log(&self) -> Result<(), CliError> {
        let filter = EnvFilter::try_new(&self.log_level)
            .map_err(|error| CliError::LogFilter(error.to_string()))?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => {
                let colours = std::io::stderr().is_terminal();
                logs.with_ansi(colours).with_target(false).init();
            }
            LogFormat::Json => logs.json().flatten_event(true).with_target(false).init(),
        }
        Ok(())
    }
}

fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)
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
