//! `kubectl sluice status`

mod contested;
mod last_words;
mod leader;
mod nodes;
mod observed;
mod policies;
mod report;
#[cfg(test)]
mod tests;
mod text;

use jiff::Timestamp;

pub(crate) use self::observed::AGENTS;
use self::observed::Observed;
use self::report::StatusReport;
use crate::cli::{Outcome, exit_code};
use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::output::{Output, written};
use crate::style::Style;

pub(crate) async fn status(
    cluster: &Cluster,
    output: Output,
    style: Style,
) -> Result<Outcome, PluginError> {
    let observed = Observed::read(cluster).await?;
    let report = StatusReport::of(&observed, Timestamp::now());
    let code = if report.healthy {
        exit_code::DONE
    } else {
        exit_code::NO
    };
    let text = written(&report, output, |report| text::text(report, style))?;
    Ok(Outcome { text, code })
}
