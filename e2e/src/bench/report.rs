//! What came out, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::programming::Timed;
use super::{BenchError, agent, plot, programming, traffic};

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
            let at = |times: &[Duration], percent: usize| {
                times
                    .get(times.len() * percent / 100)
                    .copied()
                    .unwrap_or_default()
            };
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
                "{:<7}{:>10} connections a second: {:.0} / {:.0} ({:.2}); in 100 ms: quiet median {} worst {}, all services rewritten median {} worst {}",
                row.variant.to_string(),
                row.size.to_string(),
                row.rate_alone,
                row.rate_among_many,
                row.rate_alone / row.rate_among_many,
                middle(&row.quiet),
                row.quiet.iter().min().copied().unwrap_or(0),
                middle(&row.rewriting),
                row.rewriting.iter().min().copied().unwrap_or(0),
            );
        }
    }

    /// Writes CSV files and plots.
    pub fn write(&self, out: &Path) -> Result<(), BenchError> {
        let mut csv = String::from(
            "variant,services,endpoints,rules,chains,what,sluice_ms,bare_ms,programs,transactions,bytes,set_entries\n",
        );
        for row in &self.programming {
            let timed = [
                ("first", &row.first),
                ("endpoint", &row.change),
                ("service", &row.service),
                ("restart", &row.restart),
            ];
            for (what, timed) in timed {
                let bare = timed
                    .bare
                    .map_or(String::new(), |bare| format!("{:.3}", ms(bare)));
                let r = &timed.report;
                let _ = writeln!(
                    csv,
                    "{},{},{},{},{},{what},{:.3},{bare},{},{},{},{}",
                    row.variant,
                    row.size.services,
                    row.size.endpoints,
                    row.programmed.rules,
                    row.programmed.chains,
                    ms(timed.sluice),
                    r.programs_started,
                    r.transactions,
                    r.bytes_written,
                    r.set_entries
                );
            }
        }
        let mut connections = String::from("variant,services,where,microseconds\n");
        for row in &self.traffic {
            for (place, times) in [("alone", &row.alone), ("last_of_many", &row.among_many)] {
                for time in times {
                    let _ = writeln!(
                        connections,
                        "{},{},{place},{:.1}",
                        row.variant,
                        row.size.services,
                        time.as_secs_f64() * 1e6
                    );
                }
            }
        }
        let files = [
            ("programming.csv", csv),
            ("connections.csv", connections),
            ("programming.svg", plot::programming(&self.programming)),
            ("first-packet.svg", plot::first_packet(&self.traffic)),
        ];
        for (name, text) in files {
            let file = out.join(name);
            std::fs::write(&file, text)
                .map_err(BenchError::io(format!("write {}", file.display())))?;
        }
        Ok(())
    }
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

fn middle(buckets: &[usize]) -> usize {
    let mut sorted = buckets.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
