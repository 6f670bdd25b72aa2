//! What was measured against what Sluice promises.

use std::fmt::Write as _;
use std::time::Duration;

use sluice_service_plan::model::VipBinding;

use super::{Report, at, ms};
use crate::bench::plane::Plane;
use crate::bench::programming::Timed;
use crate::bench::{MANY, Size};
use crate::lab::pace::pace;

/// First program: at most so many times the bare program.
const FIRST_PROGRAM: f64 = 2.0;
/// One change: at most so many times the bare program, and [`CHANGE_EXTRA`].
const CHANGE: f64 = 1.5;
const CHANGE_EXTRA: Duration = Duration::from_millis(5);
/// Restart with nothing to do.
const RESTART: Duration = Duration::from_secs(1);
/// Resident memory, MiB.
const MEMORY: f64 = 60.0;
/// Percent of one core while nothing happens; of a core that is emulated, as much more as that is slower.
const IDLE_CPU: f64 = 0.1;
/// The last of many services next to the only one.
const AMONG_MANY: f64 = 1.3;
const IPVS_AMONG_MANY: f64 = 1.2;
/// First program of IPVS, in an emulated machine.
const IPVS_FIRST_PROGRAM: Duration = Duration::from_secs(8);
/// One change by IPVS: at most so many times what it costs with one service,
const IPVS_CHANGE: f64 = 2.0;
/// and so many times less than by iptables.
const IPVS_CHANGE_NEXT_TO_IPTABLES: f64 = 50.0;

/// One promise, at one size.
struct Limit {
    what: String,
    measured: f64,
    at_most: f64,
    unit: &'static str,
}

impl Report {
    pub(super) fn write_limits(&self, out: &mut String) {
        let mut limits = self.limits();
        limits.extend(self.ipvs_limits());
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
        for row in self
            .programming
            .iter()
            .filter(|row| row.first.bare.is_some())
        {
            let place = format!("{} {}", row.plane, row.size);
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
                what: format!("resident memory, {} {}", row.plane, row.size),
                measured: row.rss_kib as f64 / 1024.0,
                at_most: MEMORY,
                unit: " MiB",
            });
            limits.push(Limit {
                what: format!("idle CPU, {} {}", row.plane, row.size),
                measured: row.idle_cpu_percent,
                at_most: IDLE_CPU * f64::from(pace()),
                unit: " %",
            });
        }
        for row in &self.first_packets {
            let place = format!("{} {}", row.plane, row.size);
            let median = |times| at(times, 50).as_secs_f64();
            limits.push(Limit {
                what: format!("first packet, {place}"),
                measured: median(&row.among_many) / median(&row.alone),
                at_most: among_many(row.plane),
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

    /// At [`MANY`] services, by local routes.
    fn ipvs_limits(&self) -> Vec<Limit> {
        let find = |services, ipvs: Option<VipBinding>| {
            let mut rows = self.programming.iter();
            rows.find(|row| {
                row.size
                    == Size {
                        services,
                        endpoints: 4,
                    }
                    && row.plane.ipvs == ipvs
            })
        };
        let routes = Some(VipBinding::LocalRoute);
        let (Some(one), Some(many), Some(iptables)) =
            (find(1, routes), find(MANY, routes), find(MANY, None))
        else {
            return Vec::new();
        };
        let place = format!("{} {}", many.plane, many.size);
        let change = ms(many.change.sluice);
        let mut limits = vec![
            Limit {
                what: format!("first program, {place}"),
                measured: ms(many.first.sluice),
                at_most: ms(IPVS_FIRST_PROGRAM),
                unit: " ms",
            },
            Limit {
                what: format!("endpoint replaced, {place} next to {}", one.size),
                measured: change,
                at_most: ms(one.change.sluice) * IPVS_CHANGE,
                unit: " ms",
            },
            Limit {
                what: format!("endpoint replaced, {place} next to {}", iptables.plane),
                measured: change,
                at_most: ms(iptables.change.sluice) / IPVS_CHANGE_NEXT_TO_IPTABLES,
                unit: " ms",
            },
        ];
        for (what, timed) in [
            ("endpoint replaced", &many.change),
            ("service added", &many.service),
        ] {
            limits.push(Limit {
                what: format!("{what}, {place}: programs started"),
                measured: timed.report.programs_started as f64,
                at_most: 0.0,
                unit: "",
            });
        }
        limits
    }
}

fn among_many(plane: Plane) -> f64 {
    if plane.ipvs.is_some() {
        IPVS_AMONG_MANY
    } else {
        AMONG_MANY
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
