//! Forms of reports.

use clap::ValueEnum;
use serde::Serialize;

use super::CliError;

/// For whom a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// A report for programs.
pub(super) fn json(report: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(report)
        .map(|json| json + "\n")
        .map_err(|e| CliError::System {
            operation: "write the report",
            source: e.into(),
        })
}
