//! The report for people.

use std::fmt::Write as _;

use super::contested::Contested;
use super::policies::PolicyLine;
use super::report::StatusReport;
use crate::age::in_words;
use crate::style::Style;

/// Findings that are told one by one; of more, the number is.
const TOLD: usize = 50;

pub(super) fn text(report: &StatusReport, style: Style) -> String {
    let mut text = String::new();
    policies(&mut text, &report.policies, style);
    let counts = report.nodes;
    // Writing to a string does not fail, here and below.
    let _ = writeln!(
        text,
        "\n{}",
        style.title(&format!(
            "{} of {} nodes are ready",
            counts.ready, counts.total
        ))
    );
    for finding in report.findings.iter().take(TOLD) {
        let lasts = finding
            .for_seconds
            .map(|seconds| format!(" for {}", in_words(seconds)))
            .unwrap_or_default();
        let policy = finding.policy.as_ref().map(|policy| format!(" ({policy})"));
        let mark = if finding.wrong {
            style.bad("wrong")
        } else {
            "note ".to_owned()
        };
        let _ = writeln!(
            text,
            "  {mark}  {}{}: {}{lasts}, {}",
            finding.node,
            policy.unwrap_or_default(),
            finding.reason,
            finding.message
        );
    }
    and_more(&mut text, report.findings.len());
    services(&mut text, &report.services, style);
    let operator = &report.operator;
    let words = if operator.wrong {
        style.bad(&operator.message)
    } else {
        operator.message.clone()
    };
    let _ = writeln!(text, "\n{} {words}", style.title("Operator:"));
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    let verdict = if report.healthy {
        style.good("Nothing is wrong.")
    } else {
        style.bad("Something is wrong.")
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

fn services(text: &mut String, services: &[Contested], style: Style) {
    if services.is_empty() {
        return;
    }
    let title = format!("{} services lack what another service has", services.len());
    let _ = writeln!(text, "\n{}", style.title(&title));
    for Contested { service, message } in services.iter().take(TOLD) {
        let _ = writeln!(text, "  {}  {service}: {message}", style.bad("wrong"));
    }
    and_more(text, services.len());
}

/// How many findings were not told one by one.
fn and_more(text: &mut String, count: usize) {
    if let Some(more @ 1..) = count.checked_sub(TOLD) {
        let _ = writeln!(text, "  and {more} more: -o json has all of them");
    }
}

const HEAD: [&str; 6] = ["POLICY", "MODE", "NODES", "UPDATED", "READY", "RUNS"];

fn policies(text: &mut String, policies: &[PolicyLine], style: Style) {
    if policies.is_empty() {
        let _ = writeln!(
            text,
            "There is no policy, and no node was told how to serve."
        );
        return;
    }
    let rows: Vec<[String; 6]> = policies.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default().max(HEAD[column].len())
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: [&str; 6]| {
        let padded = cells.iter().zip(widths);
        let padded = padded.map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ")
    };
    let _ = writeln!(
        text,
        "{}  {}",
        style.title(&line(HEAD)),
        style.title("STATE")
    );
    for (row, policy) in rows.iter().zip(policies) {
        let state = policy.state.words();
        let state = if policy.wrong {
            style.bad(state)
        } else {
            state.to_owned()
        };
        let cells: [&str; 6] = std::array::from_fn(|column| row[column].as_str());
        let _ = writeln!(text, "{}  {state}: {}", line(cells), policy.message);
    }
}

fn row(policy: &PolicyLine) -> [String; 6] {
    let runs = policy.modes.iter();
    let runs: Vec<String> = runs
        .map(|one| format!("{} {}", one.nodes, one.mode))
        .collect();
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    [
        policy.name.clone(),
        or_dash(policy.mode.clone().unwrap_or_default()),
        policy.nodes.to_string(),
        policy.updated.to_string(),
        policy.ready.to_string(),
        or_dash(runs.join(", ")),
    ]
}
