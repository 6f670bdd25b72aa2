//! A control plane to try things against: runs until Ctrl-C.

use std::process::ExitCode;

use clap::Parser;
use sluice_e2e::control_plane::{ControlPlane, Options, Part, Programs};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a real control plane and prints the path of its kubeconfig; all of it is gone after Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// With kube-controller-manager, which makes endpoint slices of Services and Pods
    #[arg(long)]
    controller_manager: bool,
    /// Only builds what is missing, and prints the directory of the programs
    #[arg(long)]
    prepare: bool,
    /// Only builds kube-proxy if it is missing, and prints its path
    #[arg(long)]
    prepare_kube_proxy: bool,
}

fn main() -> ExitCode {
    match act(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.prepare {
        println!("{}", Programs::get()?.directory().display());
        return Ok(());
    }
    if arguments.prepare_kube_proxy {
        println!("{}", Programs::kube_proxy()?.display());
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let control_plane = ControlPlane::start(&Options {
        controller_manager: arguments.controller_manager,
        ..Options::default()
    })?;
    for part in Part::ALL {
        if let Some(process) = control_plane.process_id(part) {
            eprintln!("{part} is process {process}");
        }
    }
    eprintln!(
        "{} was ready after {:.1} s; kubectl is in {}; Ctrl-C ends it",
        control_plane.url(),
        control_plane.ready_after().as_secs_f64(),
        control_plane.programs().directory().display()
    );
    // Before the line on which somebody may wait, to end it then.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("{}", control_plane.kubeconfig().display());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
