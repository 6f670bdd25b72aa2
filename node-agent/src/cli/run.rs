//! `sluice-agent run`

use std::path::PathBuf;

use clap::Args;
use sluice_service_plan::model::ObjectName;

use super::listening::{HealthArgs, OptionalAddress, address};
use super::proc_sys::ProcSysArgs;
use super::source::SourceArgs;
use super::{CliError, Outcome, exit_code};
use crate::agent::{self, AgentOptions, NodePlanes};
use crate::node_plane::FirstServices;

/// How to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    sysctls: ProcSysArgs,
    #[command(flatten)]
    health: HealthArgs,
    /// Where /metrics and /proxyMode answer; `off` nowhere
    #[arg(long, default_value = "127.0.0.1:10249", value_name = "ADDRESS:PORT", value_parser = address)]
    metrics_bind_address: OptionalAddress,
    /// IPVS: connections and bytes of at most so many service ports as metrics; each scrape then lists all virtual servers
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    ipvs_service_metrics: usize,
    /// Service to program before the others on a node that has no rules of ours yet, as the API server's and cluster DNS always are
    /// (repeatable)
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_name)]
    first_services: Vec<ObjectName>,
}

/// Where an agent keeps things.
#[derive(Debug, Clone, Args)]
pub(super) struct Directories {
    /// What must outlive a reboot: old sysctl values, iptables variants in use, last settings, last good manifests
    #[arg(long, default_value = "/var/lib/sluice", value_name = "DIR")]
    pub(super) state_dir: PathBuf,
    /// What must not: the lock that lets one agent run
    #[arg(long, default_value = "/run/sluice", value_name = "DIR")]
    pub(super) run_dir: PathBuf,
}

fn service_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err("is not NAMESPACE/NAME: write it as in `kube-system/kube-dns`".to_owned()),
    }
}

pub(super) fn run(args: RunArgs) -> Result<Outcome, CliError> {
    let first_services = FirstServices::with(args.first_services);
    let planes = NodePlanes::new(&args.directories.run_dir).with_first_services(first_services);
    let options = AgentOptions {
        source: args.source.source(&args.directories.state_dir)?,
        planes: Box::new(planes),
        state_dir: args.directories.state_dir,
        run_dir: args.directories.run_dir,
        proc_sys: args.sysctls.proc_sys,
        healthz: args.health.address(),
        metrics: args.metrics_bind_address.0,
        ipvs_service_metrics: args.ipvs_service_metrics,
    };
    agent::run(options)?;
    Ok(Outcome {
        text: String::new(),
        code: exit_code::DONE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_service_is_named_with_its_namespace() {
        let named = service_name("shop/vault").map(|name| name.to_string());
        assert_eq!(named.as_deref(), Ok("shop/vault"));
        for wrong in ["vault", "/vault", "shop/", "shop/vault/x", ""] {
            assert!(service_name(wrong).is_err(), "{wrong}");
        }
    }
}
