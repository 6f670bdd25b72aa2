//! `make bench`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sluice_e2e::bench::{self, SIZES, Size};

/// Measures programming, memory and connections, next to the bare iptables-restore. Needs root; works in namespaces of its own.
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
}

fn main() -> ExitCode {
    let args = Args::parse();
    let sizes: Vec<Size> = SIZES
        .into_iter()
        .filter(|size| size.services <= args.most_services)
        .collect();
    match bench::run(&args.agent, &args.out, &sizes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            eprintln!("sluice-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
