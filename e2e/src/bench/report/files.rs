//! CSV files and plots.

use std::fmt::Write as _;
use std::path::Path;

use super::{Report, ms};
use crate::bench::traffic::BUCKET;
use crate::bench::{BenchError, plot};

impl Report {
    /// Writes CSV files and plots.
    pub fn write(&self, out: &Path) -> Result<(), BenchError> {
        let files = [
            ("programming.csv", self.programming_csv()),
            ("agent.csv", self.agent_csv()),
            ("connections.csv", self.connections_csv()),
            ("connections-in-time.csv", self.rhythms_csv()),
            ("programming.svg", plot::programming(&self.programming)),
            ("first-packet.svg", plot::first_packet(&self.traffic)),
            ("connections-in-time.svg", plot::connections(&self.traffic)),
        ];
        for (name, text) in files {
            let file = out.join(name);
            std::fs::write(&file, text)
                .map_err(BenchError::io(format!("write {}", file.display())))?;
        }
        Ok(())
    }

    fn programming_csv(&self) -> String {
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
        csv
    }

    fn agent_csv(&self) -> String {
        let mut csv =
            String::from("services,endpoints,rss_kib,peak_rss_kib,idle_cpu_percent_of_a_core\n");
        for row in &self.agent {
            let _ = writeln!(
                csv,
                "{},{},{},{},{:.3}",
                row.size.services,
                row.size.endpoints,
                row.rss_kib,
                row.peak_rss_kib,
                row.idle_cpu_percent
            );
        }
        csv
    }

    fn connections_csv(&self) -> String {
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
        connections
    }

    fn rhythms_csv(&self) -> String {
        let mut csv = String::from("variant,services,what,milliseconds,connections\n");
        for row in &self.traffic {
            for (name, rhythm) in row.rhythms() {
                for (index, count) in rhythm.buckets.iter().enumerate() {
                    let _ = writeln!(
                        csv,
                        "{},{},{name},{},{count}",
                        row.variant,
                        row.size.services,
                        index as u128 * BUCKET.as_millis()
                    );
                }
            }
        }
        csv
    }
}
