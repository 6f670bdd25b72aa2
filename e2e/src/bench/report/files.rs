//! CSV files and plots.

use std::fmt::Write as _;
use std::path::Path;

use super::{Report, ms};
use crate::bench::traffic::rhythm::BUCKET;
use crate::bench::{BenchError, plot};

impl Report {
    /// Writes CSV files and plots.
    pub fn write(&self, out: &Path) -> Result<(), BenchError> {
        let mut files = vec![
            ("programming.csv", self.programming_csv()),
            ("agent.csv", self.agent_csv()),
            ("connections.csv", self.connections_csv()),
            ("programming.svg", plot::programming(&self.programming)),
            ("first-packet.svg", plot::first_packet(&self.first_packets)),
        ];
        if !self.rhythms.is_empty() {
            files.push(("connections-in-time.csv", self.rhythms_csv()));
            files.push(("connections-in-time.svg", plot::connections(&self.rhythms)));
        }
        if !self.streams.is_empty() {
            files.push(("streams.csv", self.streams_csv()));
        }
        for (name, text) in files {
            let file = out.join(name);
            std::fs::write(&file, text)
                .map_err(BenchError::io(format!("write {}", file.display())))?;
        }
        Ok(())
    }

    fn programming_csv(&self) -> String {
        let mut csv = String::from(
            "data_plane,services,endpoints,rules,chains,what,sluice_ms,bare_ms,programs,transactions,bytes,set_entries,ipvs_commands,bindings\n",
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
                    "{},{},{},{},{},{what},{:.3},{bare},{},{},{},{},{},{}",
                    row.plane,
                    row.size.services,
                    row.size.endpoints,
                    row.programmed.rules,
                    row.programmed.chains,
                    ms(timed.sluice),
                    r.programs_started,
                    r.transactions,
                    r.bytes_written,
                    r.set_entries,
                    r.ipvs_commands,
                    r.bindings
                );
            }
        }
        csv
    }

    fn agent_csv(&self) -> String {
        let mut csv = String::from(
            "data_plane,services,endpoints,rss_kib,peak_rss_kib,idle_cpu_percent_of_a_core\n",
        );
        for row in &self.agent {
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{:.3}",
                row.plane,
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
        let mut connections = String::from("data_plane,services,where,microseconds\n");
        for row in &self.first_packets {
            for (place, times) in [("alone", &row.alone), ("last_of_many", &row.among_many)] {
                for time in times {
                    let _ = writeln!(
                        connections,
                        "{},{},{place},{:.1}",
                        row.plane,
                        row.size.services,
                        time.as_secs_f64() * 1e6
                    );
                }
            }
        }
        connections
    }

    fn streams_csv(&self) -> String {
        let mut csv = String::from("data_plane,services,what,per_second\n");
        for row in &self.streams {
            for (what, value) in [
                ("bytes_to_the_pod", row.direct),
                ("bytes_to_the_first_service", row.first),
                ("bytes_to_the_last_service", row.last),
                ("masqueraded_short_connections", row.masqueraded.short),
                (
                    "masqueraded_requests_on_one_connection",
                    row.masqueraded.kept,
                ),
                ("short_connections", row.plain.short),
                ("requests_on_one_connection", row.plain.kept),
            ] {
                let (plane, services) = (row.plane, row.size.services);
                let _ = writeln!(csv, "{plane},{services},{what},{value:.1}");
            }
        }
        csv
    }

    fn rhythms_csv(&self) -> String {
        let mut csv = String::from("data_plane,services,what,milliseconds,connections\n");
        for row in &self.rhythms {
            for (name, rhythm) in &row.rhythms {
                for (index, count) in rhythm.buckets.iter().enumerate() {
                    let _ = writeln!(
                        csv,
                        "{},{},{name},{},{count}",
                        row.plane,
                        row.size.services,
                        index as u128 * BUCKET.as_millis()
                    );
                }
            }
        }
        csv
    }
}
