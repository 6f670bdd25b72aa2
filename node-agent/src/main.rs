//! `sluice-agent`: serves Kubernetes Services on one node.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sluice_agent::cli::{Cli, exit_code};
use tikv_jemallocator::Jemalloc;

/// Small survivors of a burst do not pin the pages around them, as they do with the C library's; set up in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // A kernel that makes huge pages wherever they fit would give each thread's stack 2 MB. One that cannot be told so makes none, or the
    // agent is larger than it need be.
    let _ = nix::sys::prctl::set_thp_disable(true);
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
