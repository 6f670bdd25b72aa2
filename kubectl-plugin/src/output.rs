//! Forms of answers.

use clap::ValueEnum;
use serde::Serialize;

use crate::error::PluginError;

/// For whom an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// A report in the form that is wanted.
pub(crate) fn written<R: Serialize>(
    report: &R,
    output: Output,
    text: impl FnOnce(&R) -> String,
) -> Result<String, PluginError> {
    match output {
        Output::Text => Ok(text(report)),
        Output::Json => serde_json::to_string_pretty(report)
            .map(|json| json + "\n")
            .map_err(PluginError::Json),
    }
}
