//! kube-proxy beside Sluice: by one API server, each on a node of its own, the rows of the packet suite come out the same, or the
//! difference is listed.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Instant;

use sluice_e2e::packets::{ipvs, table};

use cluster::Cluster;
use comparable::NotComparable;
use run::Report;

mod cluster;
mod comparable;
mod differences;
mod docs;
mod groups;
mod marker;
mod node;
mod objects;
mod peers;
mod rows;
mod run;
mod settings;
mod subset;

#[test]
fn kube_proxy_does_to_packets_what_sluice_does_or_it_is_listed() {
    let begun = Instant::now();
    let Some(mut cluster) = Cluster::up("kube-proxy beside Sluice") else {
        return;
    };
    let mut rows = table::rows();
    if ipvs::is_promised() {
        rows = subset::of(&rows);
    }
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let compared = rows.iter().filter(|row| {
        let why = NotComparable::of(row);
        if let Some(why) = why {
            *left_out.entry(why.title).or_default() += 1;
        }
        why.is_none()
    });
    let groups = groups::groups(compared);
    let reports = run::run(&mut cluster, peers::here(), &groups);
    for (title, count) in &left_out {
        eprintln!("not compared, {count} rows: {title}");
    }
    reports.iter().for_each(print);
    eprintln!("{:.0} s", begun.elapsed().as_secs_f64());
    let wrong: usize = reports.iter().map(|report| report.wrong.len()).sum();
    assert_eq!(wrong, 0, "see above");
    // A part of the table shows a part of the differences.
    if std::env::var_os("SLUICE_CASE").is_none() {
        let not_seen: Vec<String> = reports.iter().flat_map(Report::not_seen).collect();
        assert_eq!(not_seen, [""; 0], "listed, but not seen");
    }
}

fn print(report: &Report) {
    let name = report.peer.name;
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, title) in &report.known {
        *known.entry(title).or_default() += 1;
    }
    for (title, count) in known {
        eprintln!("[{name}] {count} rows: {title}");
    }
    eprintln!(
        "[{name}] {} rows, {} as listed, {} wrong",
        report.rows,
        report.known.len(),
        report.wrong.len()
    );
}
