//! Puts rows to all that are compared, beside each other on one API server.

use std::time::Instant;

use sluice_e2e::packets::bound::as_bound;
use sluice_e2e::packets::{Row, oracle};

use crate::cluster::Cluster;
use crate::differences::{self, Difference};
use crate::groups::{Group, Step};
use crate::node::Node;
use crate::peers::Peer;

/// What came out at one of them.
pub(crate) struct Report {
    pub(crate) peer: Peer,
    pub(crate) rows: usize,
    /// Rows that show a difference that is listed, with its title.
    pub(crate) known: Vec<(String, &'static str)>,
    /// What is not as it should be, whichever way.
    pub(crate) wrong: Vec<String>,
}

impl Report {
    fn of(peer: Peer) -> Self {
        Self {
            peer,
            rows: 0,
            known: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Differences that are listed for it and that no row has shown.
    pub(crate) fn not_seen(&self) -> Vec<String> {
        let of_its_mode =
            |one: &&Difference| self.peer.mode.is_some_and(|mode| one.modes.contains(&mode));
        let shown = |one: &&Difference| self.known.iter().any(|(_, title)| *title == one.title);
        differences::all()
            .filter(of_its_mode)
            .filter(|one| !shown(one))
            .map(|one| format!("{}: {}", self.peer.name, one.title))
            .collect()
    }

    fn check(&mut self, node: &Node, row: &Row) {
        self.rows += 1;
        let mode = self.peer.mode;
        let listed = mode.and_then(|mode| Some((Difference::of(row, mode)?, mode)));
        let Some((difference, mode)) = listed else {
            if let Err(seen) = node.agreement(&[row]) {
                self.wrong(node, row, &seen);
            }
            return;
        };
        let shown = difference.shown_by(row, mode);
        let expectations = [&shown, row];
        let may_be = if difference.may_be_missed { 2 } else { 1 };
        match node.agreement(&expectations[..may_be]) {
            Ok(0) => self.known.push((row.name.clone(), difference.title)),
            Ok(_) => {}
            Err(seen) => {
                let seen = format!("{seen}\n  listed: {}", difference.title);
                self.wrong(node, row, &seen);
            }
        }
    }

    fn wrong(&mut self, node: &Node, row: &Row, seen: &str) {
        let (name, expected, held) = (&row.name, &row.expect, node.dump());
        let wrong = format!("{name}\n  expected: {expected}\n  seen: {seen}{held}");
        // A run that is given up has told what it saw.
        eprintln!("[{}] {wrong}", self.peer.name);
        self.wrong.push(wrong);
    }
}

/// Runs all groups, one after the other.
pub(crate) fn run(cluster: &mut Cluster, peers: &[Peer], groups: &[Group<'_>]) -> Vec<Report> {
    let mut reports: Vec<Report> = peers.iter().copied().map(Report::of).collect();
    for group in groups {
        let begun = Instant::now();
        run_group(cluster, group, &mut reports);
        let rows: usize = group.iter().map(|step| step.rows.len()).sum();
        eprintln!(
            "{rows} rows in {} scenes took {:.1} s",
            group.len(),
            begun.elapsed().as_secs_f64()
        );
    }
    reports
}

fn run_group(cluster: &mut Cluster, group: &Group<'_>, reports: &mut [Report]) {
    let scene = group[0].scene;
    cluster.set_node(&scene.node);
    let mut marker = cluster.change_to(scene);
    let mut nodes: Vec<Node> = reports
        .iter()
        .map(|report| Node::start(report.peer, &cluster.control_plane, scene))
        .collect();
    for (number, step) in group.iter().enumerate() {
        if number > 0 {
            marker = cluster.change_to(step.scene);
        }
        if reports.iter().any(|report| report.peer.balances_by_ipvs) {
            // It programs one service after the other: another change is taken up when all of this one is done.
            std::thread::scope(|scope| {
                for node in &nodes {
                    scope.spawn(move || node.wait_for(marker));
                }
            });
            marker = cluster.mark();
        }
        std::thread::scope(|scope| {
            for (node, report) in nodes.iter_mut().zip(reports.iter_mut()) {
                scope.spawn(move || {
                    node.surround(&step.scene.surroundings);
                    node.wait_for(marker);
                    check_all(node, step, report);
                });
            }
        });
    }
}

fn check_all(node: &Node, step: &Step<'_>, report: &mut Report) {
    let plan = oracle::plan(step.scene);
    for row in &step.rows {
        if node.peer.balances_by_ipvs {
            report.check(node, &as_bound(row, &plan));
        } else {
            report.check(node, row);
        }
    }
}
