//! First program, one change, one service more, a restart: through the data plane, and next to the bare program.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sluice_agent::data_plane::{DataPlane, Programmed, SyncReport};
use sluice_agent::node_plane::NodePlane;
use sluice_service_plan::catalog::Catalog;
use tempfile::TempDir;

use super::bare::{self, Tape};
use super::plane::Plane;
use super::{BenchError, Size, cluster, median};
use crate::lab::Namespace;

/// How often a single change is measured; the median counts.
const ROUNDS: u32 = 5;
/// How often the first program is measured, at least (where a ratio is wanted) and at most; the median counts.
const FIRST_ROUNDS: std::ops::RangeInclusive<usize> = 3..=9;
/// No further first program is measured after so long.
const FIRST_ENOUGH: Duration = Duration::from_secs(5);
/// The kernel removes the namespaces of earlier sizes in the background.
const SETTLE: Duration = Duration::from_millis(500);

/// One thing that was timed.
#[derive(Debug, Clone, Default)]
pub struct Timed {
    /// Through the data plane.
    pub sluice: Duration,
    /// The bare program with the same text; absent where there was no text.
    pub bare: Option<Duration>,
    /// What the data plane did.
    pub report: SyncReport,
}

/// Everything about one data plane and size.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Data plane.
    pub plane: Plane,
    /// Size.
    pub size: Size,
    /// What stands in the kernel after the first program.
    pub programmed: Programmed,
    /// From an empty kernel; medians, in turn with the bare program.
    pub first: Timed,
    /// One endpoint replaced.
    pub change: Timed,
    /// One service added.
    pub service: Timed,
    /// A new data plane over what is there.
    pub restart: Timed,
    /// Comparison of everything.
    pub verify: Duration,
    /// Comparison of counts.
    pub check: Duration,
}

struct Bench {
    plane: Plane,
    against_bare: bool,
    /// Where the data plane remembers what the kernel holds, as the agent's does.
    run_dir: TempDir,
    tape: Tape,
    catalog: Catalog,
    size: Size,
}

/// Measures one data plane at one size, in namespaces of its own.
pub fn measure(plane: Plane, size: Size, against_bare: bool) -> Result<Measured, BenchError> {
    std::thread::sleep(SETTLE);
    let mut bench = Bench {
        plane,
        against_bare,
        run_dir: tempfile::tempdir().map_err(BenchError::io("make a run directory"))?,
        tape: Tape::default(),
        catalog: cluster::catalog(size, plane.settings()),
        size,
    };
    // Namespaces stay until all is measured, so that none is removed while another is measured.
    let mut used = Vec::new();
    let mut firsts = Vec::new();
    let start = Instant::now();
    loop {
        let namespace = Namespace::new("bench")?;
        for address in &cluster::node().addresses {
            namespace.ip(&format!("address add {address} dev lo"))?;
        }
        let (back, plane, first, bare) = namespace.run(move || bench.first())??;
        bench = back;
        firsts.push(first);
        used.extend(bare);
        let rounds = firsts.len();
        let are_few = bench.against_bare && rounds < *FIRST_ROUNDS.start();
        let is_enough = !are_few && start.elapsed() > FIRST_ENOUGH;
        if is_enough || rounds == *FIRST_ROUNDS.end() {
            return namespace.run(move || bench.measure(plane, firsts))?;
        }
        used.push(namespace);
    }
}

impl Bench {
    /// Programs an empty namespace, then lets the bare program do the same in another, which is kept.
    fn first(self) -> Result<(Self, NodePlane, Timed, Option<Namespace>), BenchError> {
        let mut plane = self.open()?;
        let start = Instant::now();
        let report = plane.reconcile(self.catalog.plan())?;
        let sluice = start.elapsed();
        let texts = self.tape.take();
        let (bare, namespace) = if self.against_bare {
            let (bare, namespace) = bare::from_empty(self.plane.variant, texts)?;
            (Some(bare), Some(namespace))
        } else {
            (None, None)
        };
        let timed = Timed {
            sluice,
            bare,
            report,
        };
        Ok((self, plane, timed, namespace))
    }

    fn measure(mut self, mut plane: NodePlane, firsts: Vec<Timed>) -> Result<Measured, BenchError> {
        let programmed = plane.programmed();
        let mut changes = Vec::new();
        let mut services = Vec::new();
        for round in 0..ROUNDS {
            self.replace_endpoint(round);
            changes.push(self.step(&mut plane)?);
            self.add_service(self.size.services + round);
            services.push(self.step(&mut plane)?);
        }
        let (restart, verify, check) = self.restart()?;
        Ok(Measured {
            plane: self.plane,
            size: self.size,
            programmed,
            first: middle(firsts),
            change: middle(changes),
            service: middle(services),
            restart,
            verify,
            check,
        })
    }

    /// Applies what changed in the catalog, then restores the same text once more.
    fn step(&mut self, plane: &mut NodePlane) -> Result<Timed, BenchError> {
        let start = Instant::now();
        let change = self.catalog.take_changes();
        let report = plane.apply(self.catalog.plan(), &change)?;
        let sluice = start.elapsed();
        let texts = self.tape.take();
        let mut bare = None;
        if self.against_bare && bare::is_repeatable(&texts) {
            bare = Some(bare::restore(self.plane.variant, &texts)?);
            // As the agent does after a commit that was another's.
            plane.verify()?;
        }
        Ok(Timed {
            sluice,
            bare,
            report,
        })
    }

    fn open(&self) -> Result<NodePlane, BenchError> {
        let plane = self.plane.open(self.tape.clone())?;
        Ok(plane.remembering_in(self.run_dir.path()))
    }

    fn replace_endpoint(&mut self, round: u32) {
        let index = (self.size.services / 2 + round * 7) % self.size.services;
        let mut endpoints = cluster::made_up(index, self.size.endpoints);
        endpoints[0].0 = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 250, 0, 1)) + round).into();
        self.catalog.set_slice(cluster::slice(index, endpoints));
    }

    fn add_service(&mut self, index: u32) {
        self.catalog.set_service(cluster::service(index));
        self.catalog.set_slice(cluster::slice(
            index,
            cluster::made_up(index, self.size.endpoints),
        ));
    }

    fn restart(&self) -> Result<(Timed, Duration, Duration), BenchError> {
        let mut plane = self.open()?;
        let start = Instant::now();
        let report = plane.reconcile(self.catalog.plan())?;
        let sluice = start.elapsed();
        if !report.is_noop() {
            return Err(BenchError::NotSo(format!(
                "a restart wrote to the kernel: {report:?}"
            )));
        }
        let start = Instant::now();
        let drifts = plane.verify()?;
        let verify = start.elapsed();
        let start = Instant::now();
        plane.check()?;
        let check = start.elapsed();
        if let Some(drift) = drifts.first() {
            return Err(BenchError::NotSo(format!(
                "the kernel does not hold what was programmed: {drift}"
            )));
        }
        Ok((
            Timed {
                sluice,
                bare: None,
                report,
            },
            verify,
            check,
        ))
    }
}

fn middle(rounds: Vec<Timed>) -> Timed {
    let bare: Vec<Duration> = rounds.iter().filter_map(|round| round.bare).collect();
    Timed {
        sluice: median(rounds.iter().map(|round| round.sluice).collect()),
        bare: (!bare.is_empty()).then(|| median(bare)),
        report: rounds
            .into_iter()
            .next()
            .map(|round| round.report)
            .unwrap_or_default(),
    }
}
