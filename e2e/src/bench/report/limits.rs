//! What was measured against what Sluice promises.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Report, at, ms};
use crate::bench::programming::Timed;

/// First program: at most so many times the bare program.
const FIRST_PROGRAM: f64 = 2.0;
/// One change: at most so many times the bare program, and [`CHANGE_EXTRA`].
const CHANGE: f64 = 1.5;
const CHANGE_EXTRA: Duration = Duration::from_millis(5);
/// Restart with nothing to do.
const RESTART: Duration = Duration::from_secs(1);
/// Resident memory, MiB.
const MEMORY: f64 = 60.0;
/// Percent of one core while nothing happens.
const IDLE_CPU: f64 = 0.1;
/// The last of many services next to the only one.
const AMONG_MANY: f64 = 1.3;

/// One promise, at one size.
struct Limit {
    what: String,
    measured: f64,
    at_most: f64,
    unit: &'static str,
}

impl Report {
    pub(super) fn write_limits(&self, out: &mut String) {
        let limits = self.limits();
        let broken: Vec<&Limit> = limits.iter().filter(|l| l.measured > l.at_most).collect();
        let _ = writeln!(
            out,
            "\nlimits: {} of {} kept",
            limits.len() - broken.len(),
            limits.len()
        );
        for limit in broken {
            let Limit {
                what,
                measured,
                at_most,
                unit,
            } = limit;
            let _ = writeln!(
                out,
                "not kept: {what}: {measured:.2}{unit}, at most {at_most:.2}{unit}"
            );
        }
    }

    fn limits(&self) -> Vec<Limit> {
        let mut limits = Vec::new();
        for row in &self.programming {
            let place = format!("{} {}", row.variant, row.size);
            limits.extend(next_to_bare(
                format!("first program, {place}"),
                &row.first,
                FIRST_PROGRAM,
                Duration::ZERO,
            ));
            for (what, timed) in [
                ("endpoint replaced", &row.change),
                ("service added", &row.service),
            ] {
                limits.extend(next_to_bare(
                    format!("{what}, {place}"),
                    timed,
                    CHANGE,
                    CHANGE_EXTRA,
                ));
            }
            limits.push(Limit {
                what: format!("restart, {place}"),
                measured: ms(row.restart.sluice),
                at_most: ms(RESTART),
                unit: " ms",
            });
        }
        for row in &self.agent {
            limits.push(Limit {
                what: format!("resident memory, {}", row.size),
                measured: row.rss_kib as f64 / 1024.0,
                at_most: MEMORY,
                unit: " MiB",
            });
            limits.push(Limit {
                what: format!("idle CPU, {}", row.size),
                measured: row.idle_cpu_percent,
                at_most: IDLE_CPU,
                unit: " %",
            });
        }
        for row in &self.traffic {
            let place = format!("{} {}", row.variant, row.size);
            let median = |times| at(times, 50).as_secs_f64();
            limits.push(Limit {
                what: format!("first packet, {place}"),
                measured: median(&row.among_many) / median(&row.alone),
                at_most: AMONG_MANY,
                unit: " x",
            });
            limits.push(Limit {
                what: format!("connections a second, {place}"),
                measured: row.rate_alone / row.rate_among_many,
                at_most: AMONG_MANY,
                unit: " x",
            });
        }
        limits
    }
}

/// Nothing where the bare program could not do the same.
fn next_to_bare(what: String, timed: &Timed, factor: f64, extra: Duration) -> Option<Limit> {
    let bare = timed.bare?;
    Some(Limit {
        what,
        measured: ms(timed.sluice),
        at_most: ms(bare) * factor + ms(extra),
        unit: " ms",
    })
}
