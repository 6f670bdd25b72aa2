//! The plugin itself.

use std::io::{stderr, stdin, stdout};
use std::process::ExitCode;

const HELP: &str =
    "sluice-cni: a chained CNI plugin (hairpin, source-NAT class and sysctls of pods)

A container runtime starts it with CNI_COMMAND and the network configuration on standard input.
CNI specification 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0. Options: --help, --version.";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => println!("{HELP}"),
        Some("--version" | "-V") => println!("sluice-cni {}", env!("CARGO_PKG_VERSION")),
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
