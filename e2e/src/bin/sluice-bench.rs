//! `make bench`

use std::path::PathBuf;
use std::process::ExitCode;

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
    /// Measure Sluice and kube-proxy by the same API server
    #[arg(long, conflicts_with = "modes")]
    kube_proxy: bool,
    /// Of these, those that balance by IPVS; needs a kernel with it
    #[arg(long, requires = "kube_proxy")]
    ipvs: bool,
    /// Measure this operator in a large cluster, and nothing else
    #[arg(long, conflicts_with_all = ["modes", "kube_proxy"])]
    operator: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let measure = if args.modes {
        bench::modes
    } else if args.ipvs {
        bench::peer::by_ipvs
    } else if args.kube_proxy {
        bench::peer::by_iptables
    } else {
        bench::next_to_bare
    };
    let measured = match &args.operator {
        Some(operator) => bench::operator::measure(operator),
        None => measure(&args.agent, &args.out, args.most_services),
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
