//! `sluice-agent`: serves Kubernetes Services on one node.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sluice_agent::cli::{Cli, exit_code};

/// Objects are read on one thread and kept by another, and a first sync needs several times the memory of the state: the C
/// library's allocator keeps all of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluice-agent: {error:#}");
            ExitCode::from(exit_code::FAILED)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let outcome = Cli::parse().run()?;
    std::io::stdout().write_all(outcome.text.as_bytes())?;
    Ok(ExitCode::from(outcome.code))
}
