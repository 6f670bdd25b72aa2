//! From SYN to the end of the handshake: at the last of many services, next to the only service.

use std::time::Duration;

use super::{Node, connect, frontend};
use crate::bench::plane::Plane;
use crate::bench::{BenchError, Size, median};

/// Connections of one round.
const CONNECTIONS: usize = 400;
/// Rounds, the two nodes in turn.
const ROUNDS: usize = 7;

/// What came out for one data plane.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Data plane.
    pub plane: Plane,
    /// The many.
    pub size: Size,
    /// With one service; sorted.
    pub alone: Vec<Duration>,
    /// At the last of many; sorted.
    pub among_many: Vec<Duration>,
    /// Connections per second, one client after the other, medians of the rounds.
    pub rate_alone: f64,
    /// The same at the last of many.
    pub rate_among_many: f64,
}

/// Measures two nodes of a data plane in turn.
pub fn measure(alone: &Node, many: &Node) -> Result<Measured, BenchError> {
    let mut latencies = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (index, node) in [alone, many].into_iter().enumerate() {
            let to = frontend(node.last());
            let times = node.client(move || {
                let time = |_| Ok(connect(to)?.1);
                (0..CONNECTIONS).map(time).collect::<Result<Vec<_>, _>>()
            })?;
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
    Ok(Measured {
        plane: many.plane,
        size: many.size,
        alone: latency_alone,
        among_many: latency_many,
        rate_alone,
        rate_among_many: rate_many,
    })
}
