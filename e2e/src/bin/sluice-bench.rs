//! `make bench`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sluice_e2e::bench;

/// Measures programming, memory and connections: iptables next to the bare iptables-restore, or with --modes next to IPVS. Needs root;
/// works in namespaces of its own.
#[derive(Debug, Parser)]
struct Args {
    /// The agent to measure
    #[arg(long)]
    agent: PathBuf,
    /// Where CSV files and plots go
    #[arg(long, default_value = "bench-out")]
    out: PathBuf,
    /// Leave out sizes with more services than this
    #[arg(long, default_value_t = u32::MAX)]
    most_services: u32,
    /// Measure iptables and IPVS next to each other; needs a kernel with IPVS
    #[arg(long)]
    modes: bool,
    /// Leave out sizes with fewer services than this
    #[arg(long, default_value_t = 0, requires = "kube_proxy")]
    fewest_services: u32,
    /// Measure Sluice and kube-proxy by the same API server, with these planes
    #[arg(long, value_delimiter = ',', conflicts_with = "modes")]
    kube_proxy: Vec<bench::peer::Plane>,
    /// How long kube-proxy's first program may take, seconds; without it, 60 times what Sluice's took, and two minutes at least
    #[arg(long, requires = "kube_proxy")]
    patience: Option<u64>,
    /// Measure this operator in a large cluster, and nothing else
    #[arg(long, conflicts_with_all = ["modes", "kube_proxy"])]
    operator: Option<PathBuf>,
    /// Measure attachments of pods by this CNI plugin, and nothing else
    #[arg(long, conflicts_with_all = ["modes", "kube_proxy", "operator"])]
    plugin: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let measured = if let Some(operator) = &args.operator {
        bench::operator::measure(operator)
    } else if let Some(plugin) = &args.plugin {
        bench::attach::measure(plugin, &args.agent)
    } else if !args.kube_proxy.is_empty() {
        let services = args.fewest_services..=args.most_services;
        let patience = args.patience.map(Duration::from_secs);
        bench::peer::next_to_kube_proxy(
            &args.kube_proxy,
            &args.agent,
            &args.out,
            services,
            patience,
        )
    } else if args.modes {
        bench::modes(&args.agent, &args.out, args.most_services)
    } else {
        bench::next_to_bare(&args.agent, &args.out, args.most_services)
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            eprintln!("sluice-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
