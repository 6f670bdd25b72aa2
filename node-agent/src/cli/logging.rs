//! Logs, to standard error.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::CliError;

/// How to log.
#[derive(Debug, Args)]
pub(super) struct LoggingArgs {
    /// Form of log lines
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,sluice_agent=debug`
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log_level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// What libraries say by themselves of each failure, again and again; ours is said once.
const REPETITIVE: [&str; 2] = ["kube_runtime", "kube_client"];

/// The filter; whoever names a library in it hears it.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::try_new(text)?;
    for library in REPETITIVE.iter().filter(|library| !text.contains(*library)) {
        filter = filter.add_directive(format!("{library}=off").parse()?);
    }
    Ok(filter)
}

/// Starts logging for the whole process.
pub(super) fn start(args: &LoggingArgs) -> Result<(), CliError> {
    let filter = filter(&args.log_level).map_err(|error| CliError::LogFilter(error.to_string()))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match args.log_format {
        LogFormat::Text => logs
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).with_target(false).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_repeat_themselves_are_heard_only_by_name() {
        let quiet = filter("debug").unwrap().to_string();
        assert!(quiet.contains("kube_runtime=off"), "{quiet}");
        let heard = filter("info,kube_runtime=debug").unwrap().to_string();
        assert!(!heard.contains("kube_runtime=off"), "{heard}");
    }
}
