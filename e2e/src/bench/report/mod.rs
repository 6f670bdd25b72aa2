//! What came out, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use super::programming::Timed;
use super::traffic::{first_packet, rhythm, streams};
use super::{agent, programming};

mod files;
mod limits;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    /// Per data plane and size.
    pub programming: Vec<programming::Measured>,
    /// Per data plane and size.
    pub agent: Vec<agent::Measured>,
    /// Per data plane.
    pub first_packets: Vec<first_packet::Measured>,
    /// Per variant of iptables.
    pub rhythms: Vec<rhythm::Measured>,
    /// Per data plane, where they are compared.
    pub streams: Vec<streams::Measured>,
}

impl Report {
    /// Tables for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_programming(&mut out);
        self.write_counts(&mut out);
        self.write_agent(&mut out);
        self.write_first_packets(&mut out);
        self.write_rhythms(&mut out);
        self.write_streams(&mut out);
        self.write_limits(&mut out);
        out
    }

    fn write_programming(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nprogramming: milliseconds through Sluice / by the bare iptables-restore of the same text (ratio)\n\
             {:<15}{:>10} {:>7} {:>6} {:>26} {:>26} {:>26} {:>8} {:>8} {:>7}",
            "data plane",
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
                "{:<15}{:>10} {:>7} {:>6} {:>26} {:>26} {:>26} {:>8.1} {:>8.0} {:>7.1}",
                row.plane.name,
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
            "\ncounts: programs started, their transactions, bytes to them, set entries, IPVS commands, routes or addresses\n\
             {:<15}{:>10} {:>36} {:>28} {:>28} {:>20}",
            "data plane", "size", "first program", "endpoint replaced", "service added", "restart"
        );
        for row in &self.programming {
            let counts = |timed: &Timed| {
                let r = &timed.report;
                format!(
                    "{} {} {} {} {} {}",
                    r.programs_started,
                    r.transactions,
                    r.bytes_written,
                    r.set_entries,
                    r.ipvs_commands,
                    r.bindings
                )
            };
            let _ = writeln!(
                out,
                "{:<15}{:>10} {:>36} {:>28} {:>28} {:>20}",
                row.plane.name,
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
            "\n{:<15}{:>10} {:>14} {:>14} {:>18}",
            "agent", "size", "RSS MB", "peak RSS MB", "idle CPU % of core"
        );
        for row in &self.agent {
            let _ = writeln!(
                out,
                "{:<15}{:>10} {:>14.1} {:>14.1} {:>18.3}",
                row.plane.name,
                row.size.to_string(),
                row.rss_kib as f64 / 1024.0,
                row.peak_rss_kib as f64 / 1024.0,
                row.idle_cpu_percent
            );
        }
    }

    fn write_first_packets(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nconnections: the only service / the last of many (ratio)"
        );
        for row in &self.first_packets {
            for percent in [50, 90, 99] {
                let (alone, many) = (at(&row.alone, percent), at(&row.among_many, percent));
                let ratio = many.as_secs_f64() / alone.as_secs_f64();
                let _ = writeln!(
                    out,
                    "{:<15}{:>10} first packet p{percent}: {:.0} / {:.0} us ({ratio:.2})",
                    row.plane.name,
                    row.size.to_string(),
                    alone.as_secs_f64() * 1e6,
                    many.as_secs_f64() * 1e6
                );
            }
            let _ = writeln!(
                out,
                "{:<15}{:>10} connections a second: {:.0} / {:.0} ({:.2})",
                row.plane.name,
                row.size.to_string(),
                row.rate_alone,
                row.rate_among_many,
                row.rate_alone / row.rate_among_many,
            );
        }
    }

    fn write_rhythms(&self, out: &mut String) {
        if self.rhythms.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "\nconnections in buckets of 100 ms, one client: median, worst, longest handshake\n\
             (elsewhere: the bare program works in a namespace that no packet crosses; so much is for want of cores)"
        );
        for row in &self.rhythms {
            for (name, rhythm) in &row.rhythms {
                let _ = writeln!(
                    out,
                    "{:<15}{:>10} {name:<38} {:>5} {:>5} {:>8.1} ms",
                    row.plane.name,
                    row.size.to_string(),
                    rhythm.median(),
                    rhythm.worst(),
                    ms(rhythm.longest),
                );
            }
        }
    }
}

impl Report {
    fn write_streams(&self, out: &mut String) {
        if self.streams.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "\none stream, MB a second; requests a second at the last service, each by a connection of its own / all by one\n\
             {:<15}{:>10} {:>10} {:>14} {:>13} {:>18} {:>18}",
            "data plane",
            "size",
            "pod itself",
            "first service",
            "last service",
            "masqueraded",
            "not masqueraded"
        );
        let requests = |r: &streams::Requests| format!("{:.0} / {:.0}", r.short, r.kept);
        for row in &self.streams {
            let _ = writeln!(
                out,
                "{:<15}{:>10} {:>10.1} {:>14.1} {:>13.1} {:>18} {:>18}",
                row.plane.name,
                row.size.to_string(),
                row.direct / 1e6,
                row.first / 1e6,
                row.last / 1e6,
                requests(&row.masqueraded),
                requests(&row.plain)
            );
        }
    }
}

/// This percentile of sorted times.
pub(crate) fn at(times: &[Duration], percent: usize) -> Duration {
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

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
