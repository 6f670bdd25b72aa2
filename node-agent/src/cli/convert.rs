//! `sluice-agent convert`

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sluice_kube_proxy_config::{Conversion, convert as convert_text, manifest};

use super::{CliError, Outcome};

/// What to convert.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A `KubeProxyConfiguration`, or the `ConfigMap` kube-proxy that holds it, in YAML or JSON; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn convert(args: &ConvertArgs) -> Result<Outcome, CliError> {
    let text = read(&args.file).map_err(|source| CliError::System {
        operation: "read kube-proxy's configuration",
        source,
    })?;
    let Conversion {
        policy,
        flags,
        notes,
    } = convert_text(&text)?;
    let mut outcome = Outcome::default();
    outcome.line(format_args!(
        "# Made of kube-proxy's configuration by sluice-agent convert."
    ));
    if !flags.is_empty() {
        outcome.line(format_args!(
            "# Flags of sluice-agent run: {}",
            flags.join(" ")
        ));
    }
    if !notes.is_empty() {
        outcome.line(format_args!("# Without equivalent, or different:"));
    }
    for note in &notes {
        // A name in it may hold a line break, which would end the comment.
        outcome.line(format_args!("# - {}", note.replace(['\n', '\r'], " ")));
    }
    outcome.text.push_str(&manifest(&policy)?);
    Ok(outcome)
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
