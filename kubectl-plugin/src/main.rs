//! `kubectl sluice`: what people ask of Sluice in a cluster.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sluice_kubectl::cli::{Cli, exit_code};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kubectl sluice: {error:#}");
            ExitCode::from(exit_code::FAILED)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let outcome = Cli::parse().run()?;
    std::io::stdout().write_all(outcome.text.as_bytes())?;
    Ok(ExitCode::from(outcome.code))
}
