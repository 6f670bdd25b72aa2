//! What a connection costs at the last of many services, next to the only service; and while everything is rewritten.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_agent::data_plane::DataPlane;
use sluice_agent::node_plane::NodePlane;
use sluice_kernel::iptables::{Family, Variant};
use sluice_service_plan::catalog::Catalog;

use super::bare::{self, Tape};
use super::{BenchError, Size, cluster, median, programming};
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
    /// The only service, while nothing is written.
    pub alone_in_time: Rhythm,
    /// The last of many, while nothing is written.
    pub quiet: Rhythm,
    /// The last of many, while every other service is written anew in one transaction.
    pub rewriting: Rhythm,
    /// The same while the bare program restores the same text there once more; absent where the text cannot be restored twice.
    pub bare_rewriting: Option<Rhythm>,
    /// The same while the bare program programs everything in a namespace that no packet crosses: what the machine's cores cost.
    pub elsewhere: Rhythm,
}

impl Measured {
    /// All that was counted over time, with names.
    pub fn rhythms(&self) -> Vec<(&'static str, &Rhythm)> {
        let mut rhythms = vec![
            ("the only service", &self.alone_in_time),
            ("last of many", &self.quiet),
            ("all others rewritten", &self.rewriting),
        ];
        let bare = self.bare_rewriting.iter();
        rhythms.extend(bare.map(|rhythm| ("the same by the bare program", rhythm)));
        rhythms.push(("bare program elsewhere", &self.elsewhere));
        rhythms
    }
}

/// Connections, one after the other, over time.
#[derive(Debug, Clone, Default)]
pub struct Rhythm {
    /// How many began in each [`BUCKET`].
    pub buckets: Vec<usize>,
    /// The longest handshake.
    pub longest: Duration,
}

impl Rhythm {
    /// The fewest in a bucket.
    pub fn worst(&self) -> usize {
        self.buckets.iter().min().copied().unwrap_or(0)
    }

    /// The bucket in the middle.
    pub fn median(&self) -> usize {
        let mut sorted = self.buckets.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

struct Node {
    lab: Lab,
    variant: Variant,
    plane: Option<NodePlane>,
    tape: Tape,
    /// What its first program was.
    first: Vec<(Family, String)>,
    catalog: Catalog,
    to: SocketAddr,
}

/// Measures one variant.
pub fn measure(variant: Variant, size: Size) -> Result<Measured, BenchError> {
    let mut alone = Node::start(
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
    let alone_in_time = alone.rhythm(|_| Ok(()))?;
    let quiet = many.rhythm(|_| Ok(()))?;
    let rewriting = many.rhythm(Node::rewrite)?;
    let texts = many.tape.take();
    let mut bare_rewriting = None;
    if bare::is_repeatable(&texts) {
        bare_rewriting = Some(many.rhythm(|node| node.restore_here(texts))?);
    }
    let elsewhere = many.rhythm(Node::restore_elsewhere)?;
    Ok(Measured {
        variant,
        size,
        alone: latency_alone,
        among_many: latency_many,
        rate_alone,
        rate_among_many: rate_many,
        alone_in_time,
        quiet,
        rewriting,
        bare_rewriting,
        elsewhere,
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
        let tape = Tape::default();
        let recorder = tape.clone();
        let plane = lab.node().run(move || -> Result<_, BenchError> {
            let mut plane = programming::open(variant, recorder)?;
            plane.reconcile(&plan)?;
            Ok(plane)
        })??;
        // In address order the last one, so that a list would be longest for it.
        let to = SocketAddr::new(cluster::cluster_ip(last).into(), cluster::PORT);
        Ok(Self {
            lab,
            variant,
            plane: Some(plane),
            first: tape.take(),
            tape,
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

    /// Connections over time while `work` runs, and for at least two seconds.
    fn rhythm(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), BenchError>,
    ) -> Result<Rhythm, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (to, stopped) = (self.to, Arc::clone(&stop));
        let start = Instant::now();
        let client = self.lab.namespace(&CLIENT).spawn(move || {
            let mut rhythm = Rhythm::default();
            while !stopped.load(Ordering::Relaxed) {
                let at = (start.elapsed().as_millis() / BUCKET.as_millis()) as usize;
                if rhythm.buckets.len() <= at {
                    rhythm.buckets.resize(at + 1, 0);
                }
                rhythm.longest = rhythm.longest.max(connect(to)?);
                rhythm.buckets[at] += 1;
            }
            // The last bucket is cut short.
            rhythm.buckets.pop();
            Ok::<_, BenchError>(rhythm)
        })?;
        let worked = work(self);
        std::thread::sleep(Duration::from_secs(2).saturating_sub(start.elapsed()));
        stop.store(true, Ordering::Relaxed);
        let rhythm = client
            .join()
            .map_err(|_| BenchError::NotSo("the client died".to_owned()))??;
        worked.map(|()| rhythm)
    }

    /// Restores a text on the node by the bare program.
    fn restore_here(&self, texts: Vec<(Family, String)>) -> Result<(), BenchError> {
        let variant = self.variant;
        let node = self.lab.node();
        node.run(move || bare::restore(variant, &texts))?.map(drop)
    }

    /// Restores the first program in a namespace that nobody uses.
    fn restore_elsewhere(&mut self) -> Result<(), BenchError> {
        let (variant, texts) = (self.variant, std::mem::take(&mut self.first));
        let node = self.lab.node();
        node.run(move || bare::from_empty(variant, texts))?
            .map(drop)
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
