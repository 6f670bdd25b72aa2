//! `make demo`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_e2e::demo::{Demo, DemoError};
use tokio::signal::unix::{SignalKind, signal};

/// Shows a Sluice node at work, in namespaces of its own. Needs root; leaves nothing behind.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// The agent
    #[arg(long)]
    agent: PathBuf,
    /// The manifests
    #[arg(long, default_value = "examples")]
    manifests: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(until_done_or_interrupted(args)),
        Err(error) => {
            eprintln!("sluice-demo: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The namespaces end with this process; the agent, which is a process of its own, has to be told.
async fn until_done_or_interrupted(args: Args) -> ExitCode {
    let (tell, told) = std::sync::mpsc::channel();
    let shown = tokio::task::spawn_blocking(move || -> Result<(), DemoError> {
        let demo = Demo::start(&args.agent, &args.manifests)?;
        // The listener is there as long as the process.
        let _ = tell.send(demo.agent());
        demo.show()
    });
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        eprintln!("sluice-demo: cannot wait for signals");
        return ExitCode::FAILURE;
    };
    tokio::select! {
        result = shown => match result {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => {
                eprintln!("sluice-demo: {:#}", anyhow::Error::from(error));
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("sluice-demo: {error}");
                ExitCode::FAILURE
            }
        },
        _ = interrupt.recv() => interrupted(&told),
        _ = terminate.recv() => interrupted(&told),
    }
}

fn interrupted(agent: &std::sync::mpsc::Receiver<(Option<u32>, PathBuf)>) -> ExitCode {
    if let Some((process, directory)) = agent.try_iter().last() {
        // It may have had the same signal already.
        if let Some(process) = process.and_then(|process| i32::try_from(process).ok()) {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(directory);
    }
    std::process::exit(130)
}
