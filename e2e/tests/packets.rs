//! The packet suite: every row of the table against the oracle, and against each data plane on the real kernel.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use sluice_e2e::packets::kernel::{Disagreement, NodeUnderTest};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_e2e::packets::{oracle, table};

#[test]
fn the_oracle_agrees_with_the_table() {
    let rows = table::rows();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let verdict = oracle::disagreement(row, &oracle::plan(&row.scene))?;
            Some(format!(
                "{}\n  expected: {}\n  oracle: {verdict}",
                row.name, row.expect
            ))
        })
        .collect();
    eprintln!("{} rows put to the oracle", rows.len());
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_table_is_large_and_its_rows_have_names_of_their_own() {
    let rows = table::rows();
    let names: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len());
    assert!(rows.len() >= 150 || std::env::var_os("SLUICE_CASE").is_some());
}

#[test]
fn every_data_plane_does_to_packets_what_the_table_says() {
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let running: Vec<_> = planes::here()
            .map(|plane| scope.spawn(|| run(plane)))
            .collect();
        running
            .into_iter()
            .map(|run| run.join().expect("a run panicked"))
            .collect()
    });
    let wrong: usize = reports
        .iter()
        .map(|report| report.disagreements.len() + report.at_the_end.len())
        .sum();
    for report in &reports {
        report.print();
    }
    assert_eq!(wrong, 0, "the kernel disagrees with the table: see above");
}

struct Report {
    plane: &'static str,
    rows: usize,
    seconds: f64,
    disagreements: Vec<Disagreement>,
    at_the_end: Vec<String>,
}

fn run(plane: &PlaneUnderTest) -> Report {
    let start = Instant::now();
    let rows = table::rows();
    let mut node = NodeUnderTest::start(plane).unwrap();
    let disagreements: Vec<Disagreement> = rows
        .iter()
        .filter(|row| plane.refuses(&row.scene.settings).is_none())
        .filter_map(|row| node.check(row).unwrap())
        .collect();
    let at_the_end = node.finish().unwrap();
    Report {
        plane: plane.name,
        rows: rows.len(),
        seconds: start.elapsed().as_secs_f64(),
        disagreements,
        at_the_end,
    }
}

impl Report {
    fn print(&self) {
        for wrong in &self.disagreements {
            eprintln!(
                "[{}] {}\n  expected: {}\n  got: {}\n  oracle: {}",
                self.plane, wrong.row, wrong.expected, wrong.got, wrong.trace
            );
        }
        for wrong in &self.at_the_end {
            eprintln!("[{}] at the end: {wrong}", self.plane);
        }
        eprintln!(
            "[{}] {} rows, {} wrong, {:.1} s",
            self.plane,
            self.rows,
            self.disagreements.len(),
            self.seconds
        );
    }
}
