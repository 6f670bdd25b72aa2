//! A cluster to try things in: runs until Ctrl-C.

use std::process::ExitCode;

use clap::Parser;
use sluice_e2e::kind::{Cluster, Disk, PodImage};
use tokio::signal::unix::{SignalKind, signal};

/// Makes a cluster with kind, in a network namespace of its own, and prints how to talk to it; all of it is gone after Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// Makes no cluster: prepares the disk by which a virtual machine has the images of one, and prints file and directory
    #[arg(long)]
    disk: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.disk { print_disk() } else { run() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-kind: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_disk() -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let disk = Disk::prepare(&PodImage::of_suite(&own.with_file_name("sluice-kind-pod"))?)?;
    println!("{}:{}", disk.file.display(), disk.directory.display());
    Ok(())
}

fn run() -> anyhow::Result<()> {
    let cluster = Cluster::up(&[])?;
    let shell = cluster.daemon().command("bash", &[]);
    let words: Vec<_> = shell
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    println!(
        "nsenter --net=/proc/{}/ns/net env {}",
        cluster.outside().id(),
        words.join(" ")
    );
    eprintln!(
        "that is a shell with kubectl, helm, kind and docker for it; Ctrl-C ends the cluster"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
