//! The plugin itself.

use std::io::{stderr, stdin, stdout};
use std::process::ExitCode;

use sluice_cni::install::{self, Action, Arguments, USAGE};

const HELP: &str =
    "sluice-cni: a chained CNI plugin (hairpin, source-NAT class and sysctls of pods)

A container runtime starts it with CNI_COMMAND and the network configuration on standard input.
CNI specification 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0. Options: --help, --version.
`sluice-cni install` puts it on a node, `sluice-cni uninstall` takes it away.";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => println!("{HELP}"),
        Some("--version" | "-V") => println!("sluice-cni {}", env!("CARGO_PKG_VERSION")),
        Some("install") => return install(Action::Install),
        Some("uninstall") => return install(Action::Uninstall),
        Some(other) => {
            eprintln!("sluice-cni: {other:?} is not an option\n\n{HELP}");
            return ExitCode::from(2);
        }
        None => {
            return sluice_cni::run(
                |name| std::env::var_os(name),
                stdin().lock(),
                stdout().lock(),
                stderr().lock(),
            );
        }
    }
    ExitCode::SUCCESS
}

fn install(action: Action) -> ExitCode {
    let arguments = match Arguments::parse(action, std::env::args().skip(2)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("sluice-cni: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match install::run(&arguments, &mut stderr().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            eprintln!("sluice-cni: {error}: {}", cause.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
