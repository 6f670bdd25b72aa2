//! Sluice and kube-proxy by the same API server, one after the other, each on a node of its own: how long from the start to the first full
//! program, from a change at the API server to the packet that takes it, and what they need for it.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::control_plane::{ControlPlane, Options, Programs, Relay};
use crate::lab::Lab;
use crate::lab::places::{A1, A2};

use crate::bench::process::{cpu_ticks_with_programs, memory};
use crate::bench::{BenchError, Size, size};
use objects::Objects;
use probed::Probed;
use proxy::{PROXIES, Proxy, Running};

mod objects;
mod probed;
mod proxy;
mod table;

pub use proxy::Plane;

/// The sizes that are measured.
const SIZES: [Size; 3] = [size(1_000, 4), size(5_000, 4), size(20_000, 4)];
/// Changes of one endpoint, one after the other.
const CHANGES: usize = 21;
/// But not for longer than this: some take many seconds for each.
const CHANGES_ENOUGH: Duration = Duration::from_secs(120);
/// How long a first program may take,
const PATIENCE: Duration = Duration::from_secs(1800);
/// and if another was there before with the same plane, so many times what that took,
const PATIENCE_NEXT_TO_ANOTHER: u32 = 60;
/// but no less than this.
const PATIENCE_AT_LEAST: Duration = Duration::from_secs(120);
/// Steady changes,
const STEADY: Duration = Duration::from_secs(60);
/// so many a second,
const PER_SECOND: u32 = 50;
/// and after so many of them one that is followed to its packet.
const FOLLOWED: u32 = 25;

/// What came out for one of them.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    proxy: Proxy,
    size: Size,
    /// From its start until the last service is served.
    first: Duration,
    /// It was ended then, with no service served: nothing else is known of it.
    is_given_up: bool,
    /// Bytes from the API server until then.
    first_bytes: u64,
    /// From the request that changes an endpoint to the first connection that meets the new one; sorted.
    changes: Vec<Duration>,
    /// The same under steady changes; sorted.
    steady: Vec<Duration>,
    /// What the steady changes cost, milliseconds of CPU a change, programs that it ran included.
    cpu_per_change: f64,
    /// Programs started for each of the single changes, where it tells.
    programs_per_change: Option<f64>,
    /// Resident after all of it, KiB.
    rss_kib: u64,
}

/// Measures both, by each of these planes, and writes what came out below `out`. `patience`: how long the later one's first program may take.
pub fn next_to_kube_proxy(
    planes: &[Plane],
    agent: &Path,
    out: &Path,
    services: RangeInclusive<u32>,
    patience: Option<Duration>,
) -> Result<(), BenchError> {
    let proxies: Vec<Proxy> = PROXIES
        .into_iter()
        .filter(|proxy| planes.contains(&proxy.plane))
        .collect();
    // Building it is not to be measured.
    Programs::kube_proxy()?;
    let mut measured = Vec::new();
    let is_wanted = |size: &Size| {
        let any = proxies.iter().any(|proxy| proxy.is_measured_at(*size));
        any && services.contains(&size.services)
    };
    for size in SIZES.into_iter().filter(is_wanted) {
        let control_plane = ControlPlane::start(&Options::default())?;
        let objects = Objects::connect(&control_plane.kubeconfig())?;
        let start = Instant::now();
        objects.create(size, &A1)?;
        eprintln!("{size} are at the API server after {:.0?}", start.elapsed());
        for proxy in proxies.iter().filter(|proxy| proxy.is_measured_at(size)) {
            let other = measured
                .iter()
                .find(|row: &&Measured| row.size == size && row.proxy.plane == proxy.plane);
            let patience = other.map_or(PATIENCE, |other| {
                let enough = || PATIENCE_AT_LEAST.max(other.first * PATIENCE_NEXT_TO_ANOTHER);
                patience.unwrap_or_else(enough)
            });
            let place = (&control_plane, &objects);
            let row = measure(*proxy, size, agent, place, patience)?;
            eprintln!("{}", row.summary());
            measured.push(row);
        }
    }
    table::put_out(&measured, out)
}

fn measure(
    proxy: Proxy,
    size: Size,
    agent: &Path,
    (control_plane, objects): (&ControlPlane, &Objects),
    patience: Duration,
) -> Result<Measured, BenchError> {
    objects.move_probed(&A1)?;
    let lab = Lab::up()?;
    let relay = Relay::start(control_plane, lab.node())?;
    let probed = Probed::new(&lab);
    let start = Instant::now();
    let running = Running::start(proxy, agent, control_plane, &lab)?;
    let is_served = probed.is_reached(&A1, patience)?;
    if is_served {
        running.wait_until_healthy(&lab)?;
    }
    let first = start.elapsed();
    let first_bytes = relay.bytes_from_server();
    if !is_served {
        return Ok(Measured {
            proxy,
            size,
            first,
            is_given_up: true,
            first_bytes,
            changes: Vec::new(),
            steady: Vec::new(),
            cpu_per_change: f64::NAN,
            programs_per_change: None,
            rss_kib: memory(running.id()?, "VmRSS:")?,
        });
    }

    let mut followed = Follower::default();
    let programs = running.programs_started(&lab)?;
    let changes_start = Instant::now();
    while followed.took.len() < CHANGES && changes_start.elapsed() < CHANGES_ENOUGH {
        followed.follow(objects, &probed)?;
    }
    let changes = followed.take();
    let programs_per_change = programs
        .zip(running.programs_started(&lab)?)
        .map(|(before, after)| (after - before) / changes.len() as f64);
    let before = cpu_ticks_with_programs(running.id()?)?;
    let steady_start = Instant::now();
    let mut made = 0;
    while steady_start.elapsed() < STEADY {
        // Those who make changes do not wait for who follows them: a late one is made up for.
        let due = steady_start + Duration::from_secs(1) / PER_SECOND * made;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        made += 1;
        if made % FOLLOWED == 0 {
            followed.follow(objects, &probed)?;
        } else {
            objects.change(made * 7 % size.services, size, made)?;
        }
    }
    let ticks = cpu_ticks_with_programs(running.id()?)? - before;
    Ok(Measured {
        proxy,
        size,
        first,
        is_given_up: false,
        first_bytes,
        changes,
        steady: followed.take(),
        // A tick is 10 ms.
        cpu_per_change: ticks as f64 * 10.0 / f64::from(made),
        programs_per_change,
        rss_kib: memory(running.id()?, "VmRSS:")?,
    })
}

/// Moves the probed service to and fro.
#[derive(Default)]
struct Follower {
    moved: usize,
    took: Vec<Duration>,
}

impl Follower {
    fn follow(&mut self, objects: &Objects, probed: &Probed<'_>) -> Result<(), BenchError> {
        self.moved += 1;
        let to = [&A1, &A2][self.moved % 2];
        let start = Instant::now();
        objects.move_probed(to)?;
        probed.wait_for(to)?;
        self.took.push(start.elapsed());
        Ok(())
    }

    fn take(&mut self) -> Vec<Duration> {
        let mut took = std::mem::take(&mut self.took);
        took.sort_unstable();
        took
    }
}
