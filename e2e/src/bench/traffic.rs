//! What a connection costs at the last of many services, next to the only service; and while everything is rewritten.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_agent::data_plane::DataPlane;
use sluice_agent::iptables_plane::IptablesPlane;
use sluice_kernel::iptables::Variant;
use sluice_service_plan::catalog::Catalog;

use super::{BenchError, Size, cluster, median};
use crate::lab::Lab;
use crate::lab::places::CLIENT;

/// Connections of one round.
const CONNECTIONS: usize = 400;
/// Rounds, the two nodes in turn.
const ROUNDS: usize = 7;
/// Width of a bucket.
pub const BUCKET: Duration = Duration::from_millis(100);

/// What came out for one variant.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Variant.
    pub variant: Variant,
    /// The many.
    pub size: Size,
    /// From SYN to the end of the handshake with one service; sorted.
    pub alone: Vec<Duration>,
    /// The same at the last of many; sorted.
    pub among_many: Vec<Duration>,
    /// Connections per second, one client after the other, medians of the rounds.
    pub rate_alone: f64,
    /// The same at the last of many.
    pub rate_among_many: f64,
    /// Connections in each bucket while nothing is written.
    pub quiet: Vec<usize>,
    /// Connections in each bucket while every service is written anew.
    pub rewriting: Vec<usize>,
}

struct Node {
    lab: Lab,
    plane: Option<IptablesPlane>,
    catalog: Catalog,
    to: SocketAddr,
}

/// Measures one variant.
pub fn measure(variant: Variant, size: Size) -> Result<Measured, BenchError> {
    let alone = Node::start(
        variant,
        Size {
            services: 1,
            ..size
        },
    )?;
    let mut many = Node::start(variant, size)?;
    let mut latencies = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (index, node) in [&alone, &many].into_iter().enumerate() {
            let times = node.connections()?;
            // The first round warms caches up.
            if round > 0 {
                rates[index].push(times.iter().sum::<Duration>());
                latencies[index].extend(times);
            }
        }
    }
    let [latency_alone, latency_many] = latencies.map(|mut times| {
        times.sort_unstable();
        times
    });
    let [rate_alone, rate_many] = rates.map(|sums| CONNECTIONS as f64 / median(sums).as_secs_f64());
    let quiet = many.buckets(|_| Ok(()))?;
    let rewriting = many.buckets(Node::rewrite)?;
    Ok(Measured {
        variant,
        size,
        alone: latency_alone,
        among_many: latency_many,
        rate_alone,
        rate_among_many: rate_many,
        quiet,
        rewriting,
    })
}

impl Node {
    fn start(variant: Variant, size: Size) -> Result<Self, BenchError> {
        let lab = Lab::up()?;
        let mut catalog = cluster::catalog(size);
        let last = size.services - 1;
        catalog.set_slice(cluster::slice(last, cluster::real()));
        catalog.take_changes();
        let plan = catalog.plan().clone();
        let plane = lab.node().run(move || -> Result<_, BenchError> {
            let mut plane = IptablesPlane::open(variant)?;
            plane.reconcile(&plan)?;
            Ok(plane)
        })??;
        // In address order the last one, so that a list would be longest for it.
        let to = SocketAddr::new(cluster::cluster_ip(last).into(), cluster::PORT);
        Ok(Self {
            lab,
            plane: Some(plane),
            catalog,
            to,
        })
    }

    fn connections(&self) -> Result<Vec<Duration>, BenchError> {
        let to = self.to;
        self.lab
            .namespace(&CLIENT)
            .run(move || (0..CONNECTIONS).map(|_| connect(to)).collect())?
    }

    /// Connections in buckets while `work` runs, and for at least two seconds.
    fn buckets(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), BenchError>,
    ) -> Result<Vec<usize>, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (to, stopped) = (self.to, Arc::clone(&stop));
        let start = Instant::now();
        let client = self.lab.namespace(&CLIENT).spawn(move || {
            let mut buckets = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let at = (start.elapsed().as_millis() / BUCKET.as_millis()) as usize;
                if buckets.len() <= at {
                    buckets.resize(at + 1, 0);
                }
                connect(to)?;
                buckets[at] += 1;
            }
            // The last bucket is cut short.
            buckets.pop();
            Ok::<_, BenchError>(buckets)
        })?;
        let worked = work(self);
        std::thread::sleep(Duration::from_secs(2).saturating_sub(start.elapsed()));
        stop.store(true, Ordering::Relaxed);
        let buckets = client
            .join()
            .map_err(|_| BenchError::NotSo("the client died".to_owned()))??;
        worked.map(|()| buckets)
    }

    /// Replaces an endpoint of every service but the one that is asked.
    fn rewrite(&mut self) -> Result<(), BenchError> {
        let services = u32::try_from(self.catalog.plan().services.len()).unwrap_or(u32::MAX);
        for index in 0..services - 1 {
            self.catalog
                .set_slice(cluster::slice(index, cluster::made_up(index + services, 4)));
        }
        let change = self.catalog.take_changes();
        let plan = self.catalog.plan().clone();
        let Some(mut plane) = self.plane.take() else {
            return Ok(());
        };
        let plane = self
            .lab
            .node()
            .run(move || plane.apply(&plan, &change).map(|_| plane))??;
        self.plane = Some(plane);
        Ok(())
    }
}

fn connect(to: SocketAddr) -> Result<Duration, BenchError> {
    let start = Instant::now();
    let connection = TcpStream::connect_timeout(&to, Duration::from_secs(5));
    let took = start.elapsed();
    connection
        .map(|_| took)
        .map_err(BenchError::io(format!("connect to {to}")))
}
