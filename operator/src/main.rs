//! `sluice-operator`: tells each node of a cluster how to serve Services.

use std::process::ExitCode;

use clap::Parser;
use sluice_operator::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            eprintln!("sluice-operator: {error:#}");
            ExitCode::from(2)
        }
    }
}
