//! Connections over time, while everything is rewritten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_kernel::iptables::Family;

use super::{Node, connect, frontend};
use crate::bench::plane::Plane;
use crate::bench::{BenchError, Size, bare, cluster};
use crate::lab::places::CLIENT;

/// Width of a bucket.
pub const BUCKET: Duration = Duration::from_millis(100);

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

/// What came out for one data plane.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Data plane.
    pub plane: Plane,
    /// The many.
    pub size: Size,
    /// With the names of what went on meanwhile.
    pub rhythms: Vec<(&'static str, Rhythm)>,
}

/// Measures the two nodes of an iptables variant.
pub fn measure(alone: &mut Node, many: &mut Node) -> Result<Measured, BenchError> {
    let mut rhythms = vec![
        ("the only service", alone.rhythm(|_| Ok(()))?),
        ("last of many", many.rhythm(|_| Ok(()))?),
        ("all others rewritten", many.rhythm(Node::rewrite)?),
    ];
    let texts = many.tape.take();
    // Absent where the text cannot be restored twice.
    if bare::is_repeatable(&texts) {
        let restored = many.rhythm(|node| node.restore_here(texts))?;
        rhythms.push(("the same by the bare program", restored));
    }
    // What the machine's cores cost.
    let elsewhere = many.rhythm(Node::restore_elsewhere)?;
    rhythms.push(("bare program elsewhere", elsewhere));
    Ok(Measured {
        plane: many.plane,
        size: many.size,
        rhythms,
    })
}

impl Node {
    /// Connections over time while `work` runs, and for at least two seconds.
    fn rhythm(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), BenchError>,
    ) -> Result<Rhythm, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (to, stopped) = (frontend(self.last()), Arc::clone(&stop));
        let start = Instant::now();
        let client = self.lab.namespace(&CLIENT).spawn(move || {
            let mut rhythm = Rhythm::default();
            while !stopped.load(Ordering::Relaxed) {
                let at = (start.elapsed().as_millis() / BUCKET.as_millis()) as usize;
                if rhythm.buckets.len() <= at {
                    rhythm.buckets.resize(at + 1, 0);
                }
                rhythm.longest = rhythm.longest.max(connect(to)?.1);
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
        let variant = self.plane.variant;
        let node = self.lab.node();
        node.run(move || bare::restore(variant, &texts))?.map(drop)
    }

    /// Restores the first program in a namespace that nobody uses and no packet crosses.
    fn restore_elsewhere(&mut self) -> Result<(), BenchError> {
        let (variant, texts) = (self.plane.variant, std::mem::take(&mut self.first));
        let node = self.lab.node();
        node.run(move || bare::from_empty(variant, texts))?
            .map(drop)
    }

    /// Replaces an endpoint of every service but the last, in one transaction.
    fn rewrite(&mut self) -> Result<(), BenchError> {
        let Size {
            services,
            endpoints,
        } = self.size;
        for index in 0..self.last() {
            let others = cluster::made_up(index + services, endpoints);
            self.catalog.set_slice(cluster::slice(index, others));
        }
        self.apply()
    }
}
