//! First program, one change, one service more, a restart: through the data plane, next to the bare program.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sluice_agent::data_plane::{DataPlane, DataPlaneError, Programmed, SyncReport};
use sluice_agent::iptables_plane::{Doors, IptablesPlane};
use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::conntrack::ConntrackNetlink;
use sluice_kernel::iptables::{Family, Variant};
use sluice_service_plan::catalog::Catalog;

use super::bare::{self, Recording, Tape};
use super::{BenchError, Size, cluster, median};
use crate::lab::Namespace;

/// How often a single change is measured; the median counts.
const ROUNDS: u32 = 5;

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

/// Everything about one variant and size.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Variant.
    pub variant: Variant,
    /// Size.
    pub size: Size,
    /// What stands in the kernel after the first program.
    pub programmed: Programmed,
    /// From an empty kernel.
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
    variant: Variant,
    tape: Tape,
    catalog: Catalog,
    size: Size,
}

/// Measures one variant at one size, in a namespace of its own.
pub fn measure(variant: Variant, size: Size) -> Result<Measured, BenchError> {
    Namespace::new("bench")?.run(move || {
        Bench {
            variant,
            tape: Tape::default(),
            catalog: cluster::catalog(size),
            size,
        }
        .measure()
    })?
}

impl Bench {
    fn measure(mut self) -> Result<Measured, BenchError> {
        let mut plane = self.open()?;
        let first = self.first(&mut plane)?;
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
            variant: self.variant,
            size: self.size,
            programmed,
            first,
            change: middle(changes),
            service: middle(services),
            restart,
            verify,
            check,
        })
    }

    fn open(&self) -> Result<IptablesPlane, BenchError> {
        let doors = Doors {
            iptables: Box::new(Recording::open(self.variant, self.tape.clone())?),
            glue_sets: Box::new(IpsetNetlink::open()?),
            affinity_sets: Box::new(IpsetNetlink::open()?),
            conntrack: Box::new(ConntrackNetlink::open().map_err(DataPlaneError::from)?),
        };
        Ok(IptablesPlane::new(doors, &[Family::V4, Family::V6]))
    }

    fn first(&self, plane: &mut IptablesPlane) -> Result<Timed, BenchError> {
        let start = Instant::now();
        let report = plane.reconcile(self.catalog.plan())?;
        let sluice = start.elapsed();
        let bare = Some(bare::from_empty(self.variant, self.tape.take())?);
        Ok(Timed {
            sluice,
            bare,
            report,
        })
    }

    /// Applies what changed in the catalog, then restores the same text once more.
    fn step(&mut self, plane: &mut IptablesPlane) -> Result<Timed, BenchError> {
        let start = Instant::now();
        let change = self.catalog.take_changes();
        let report = plane.apply(self.catalog.plan(), &change)?;
        let sluice = start.elapsed();
        let texts = self.tape.take();
        // A text that deletes chains cannot be restored twice.
        let repeatable = !texts.is_empty() && texts.iter().all(|(_, text)| !text.contains("\n-X "));
        let bare = repeatable
            .then(|| bare::restore(self.variant, &texts))
            .transpose()?;
        Ok(Timed {
            sluice,
            bare,
            report,
        })
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
