//! `sluice-agent show`: what of ours the kernel holds. It needs no agent and no manifests, and writes nothing.

mod chains;
mod frontend;
mod look;
mod report;
mod rules;
mod servers;
mod words;

use clap::Args;

use self::frontend::Wanted;
pub(super) use self::look::full_note;
pub(super) use self::rules::{mode_in_force, variant_in_force};
use super::output::{Output, json};
use super::{CliError, Outcome, exit_code};

/// What to show.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Only this frontend: a service address or, for a node port, an address of the node [default: all]
    #[arg(long, value_name = "IP:PORT[/PROTOCOL]")]
    frontend: Option<Wanted>,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

pub(super) fn show(args: &ShowArgs) -> Result<Outcome, CliError> {
    let report = look::look(args.frontend.as_ref())?;
    let text = match args.output {
        Output::Text => report.to_string(),
        Output::Json => json(&report)?,
    };
    let found = if args.frontend.is_some() {
        report.has_frontend()
    } else {
        report.mode.is_some()
    };
    Ok(Outcome {
        text,
        code: if found {
            exit_code::DONE
        } else {
            exit_code::NO
        },
    })
}
