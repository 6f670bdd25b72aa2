//! What came out, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use super::programming::Timed;
use super::{agent, programming, traffic};

mod files;
mod limits;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    /// Per variant and size.
    pub programming: Vec<programming::Measured>,
    /// Per size.
    pub agent: Vec<agent::Measured>,
    /// Per variant.
    pub traffic: Vec<traffic::Measured>,
}

impl Report {
    /// Tables for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_programming(&mut out);
        self.write_counts(&mut out);
        self.write_agent(&mut out);
        self.write_traffic(&mut out);
        self.write_rhythms(&mut out);
        self.write_limits(&mut out);
        out
    }

    fn write_programming(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nprogramming: milliseconds through Sluice / by the bare iptables-restore of the same text (ratio)\n\
             {:<7}{:>10} {:>7} {:>6} {:>26} {:>26} {:>26} {:>8} {:>8} {:>7}",
            "variant",
            "size",
            "rules",
            "chains",
            "first program",
            "endpoint replaced",
            "service added",
            "restart",
            "verify",
            "check"
        );
        for row in &self.programming {
            let _ = writeln!(
                out,
                "{:<7}{:>10} {:>7} {:>6} {:>26} {:>26} {:>26} {:>8.0} {:>8.0} {:>7.1}",
                row.variant.to_string(),
                row.size.to_string(),
                row.programmed.rules,
                row.programmed.chains,
                compared(&row.first),
                compared(&row.change),
                compared(&row.service),
                ms(row.restart.sluice),
                ms(row.verify),
                ms(row.check),
            );
        }
    }

    fn write_counts(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\ncounts: programs started, kernel transactions, bytes to the programs, set entries\n{:<7}{:>10} {:>28} {:>28} {:>28} {:>20}",
            "variant", "size", "first program", "endpoint replaced", "service added", "restart"
        );
        for row in &self.programming {
            let counts = |timed: &Timed| {
                let r = &timed.report;
                format!(
                    "{} {} {} {}",
                    r.programs_started, r.transactions, r.bytes_written, r.set_entries
                )
            };
            let _ = writeln!(
                out,
                "{:<7}{:>10} {:>28} {:>28} {:>28} {:>20}",
                row.variant.to_string(),
                row.size.to_string(),
                counts(&row.first),
                counts(&row.change),
                counts(&row.service),
                counts(&row.restart),
            );
        }
    }

    fn write_agent(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nagent: {:>12} {:>14} {:>14} {:>18}",
            "size", "RSS MB", "peak RSS MB", "idle CPU % of core"
        );
        for row in &self.agent {
            let _ = writeln!(
                out,
                "       {:>12} {:>14.1} {:>14.1} {:>18.3}",
                row.size.to_string(),
                row.rss_kib as f64 / 1024.0,
                row.peak_rss_kib as f64 / 1024.0,
                row.idle_cpu_percent
            );
        }
    }

    fn write_traffic(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nconnections: the only service / the last of many (ratio)"
        );
        for row in &self.traffic {
            for percent in [50, 90, 99] {
                let (alone, many) = (at(&row.alone, percent), at(&row.among_many, percent));
                let ratio = many.as_secs_f64() / alone.as_secs_f64();
                let _ = writeln!(
                    out,
                    "{:<7}{:>10} first packet p{percent}: {:.0} / {:.0} us ({ratio:.2})",
                    row.variant.to_string(),
                    row.size.to_string(),
                    alone.as_secs_f64() * 1e6,
                    many.as_secs_f64() * 1e6
                );
            }
            let _ = writeln!(
                out,
                "{:<7}{:>10} connections a second: {:.0} / {:.0} ({:.2})",
                row.variant.to_string(),
                row.size.to_string(),
                row.rate_alone,
                row.rate_among_many,
                row.rate_alone / row.rate_among_many,
            );
        }
    }

    fn write_rhythms(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nconnections in buckets of 100 ms, one client: median, worst, longest handshake\n\
             (elsewhere: the bare program works in a namespace that no packet crosses; so much is for want of cores)"
        );
        for row in &self.traffic {
            for (name, rhythm) in row.rhythms() {
                let _ = writeln!(
                    out,
                    "{:<7}{:>10} {name:<38} {:>5} {:>5} {:>8.1} ms",
                    row.variant.to_string(),
                    row.size.to_string(),
                    rhythm.median(),
                    rhythm.worst(),
                    ms(rhythm.longest),
                );
            }
        }
    }
}

/// This percentile of sorted times.
pub(super) fn at(times: &[Duration], percent: usize) -> Duration {
    times
        .get(times.len() * percent / 100)
        .copied()
        .unwrap_or_default()
}

fn compared(timed: &Timed) -> String {
    match timed.bare {
        Some(bare) => {
            let ratio = timed.sluice.as_secs_f64() / bare.as_secs_f64();
            format!("{:.1} / {:.1} ({ratio:.2})", ms(timed.sluice), ms(bare))
        }
        None => format!("{:.1}", ms(timed.sluice)),
    }
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
