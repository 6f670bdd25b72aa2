//! What came out, and what Sluice promises of it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::Measured;
use super::proxy::Kind;
use crate::bench::BenchError;
use crate::bench::report::{at, ms};

/// How many times less memory Sluice takes, in every mode and size.
const LESS_MEMORY: f64 = 3.0;

impl Measured {
    pub(super) fn summary(&self) -> String {
        if self.is_given_up {
            return format!(
                "{:<22}{:>11} first: given up after {:.0} ms, with nothing served; RSS {:>6.1} MiB",
                self.proxy.name,
                self.size.to_string(),
                ms(self.first),
                self.rss_kib as f64 / 1024.0,
            );
        }
        format!(
            "{:<22}{:>11} first {:>9.0} ms, {:>6.1} MB; change p50 {:>8.1} p99 {:>8.1} ms; steady p50 {:>8.1} p99 {:>8.1} ms, {:>6.1} ms CPU a change; RSS {:>6.1} MiB{}",
            self.proxy.name,
            self.size.to_string(),
            ms(self.first),
            self.first_bytes as f64 / 1e6,
            ms(at(&self.changes, 50)),
            ms(at(&self.changes, 99)),
            ms(at(&self.steady, 50)),
            ms(at(&self.steady, 99)),
            self.cpu_per_change,
            self.rss_kib as f64 / 1024.0,
            self.programs_per_change
                .map_or_else(String::new, |programs| format!(
                    "; {programs:.1} programs a change"
                )),
        )
    }
}

pub(super) fn put_out(measured: &[Measured], out: &Path) -> Result<(), BenchError> {
    let mut text = String::from("\nby the same API server, one after the other\n");
    for row in measured {
        let _ = writeln!(text, "{}", row.summary());
    }
    write_ratios(measured, &mut text);
    print!("{text}");
    std::fs::create_dir_all(out).map_err(BenchError::io(format!("make {}", out.display())))?;
    let file = out.join("next-to-kube-proxy.csv");
    std::fs::write(&file, csv(measured))
        .map_err(BenchError::io(format!("write {}", file.display())))
}

/// How many times more kube-proxy takes, at each size; and what is promised of it at one.
fn write_ratios(measured: &[Measured], text: &mut String) {
    let _ = writeln!(text, "\nkube-proxy's figures in Sluice's");
    let ours = measured.iter().filter(|row| row.proxy.kind == Kind::Sluice);
    for (sluice, peer) in ours.filter_map(|row| Some((row, peer_of(row, measured)?))) {
        let times =
            |of: fn(&Measured) -> Duration| of(peer).as_secs_f64() / of(sluice).as_secs_f64();
        let first = times(|row| row.first);
        if peer.is_given_up {
            let _ = writeln!(
                text,
                "{:<22}{:>11} first more than {first:.1}, then it was given up",
                sluice.proxy.name,
                sluice.size.to_string(),
            );
            write_promises(text, sluice, &[("first program", first)]);
            continue;
        }
        let change = times(|row| at(&row.changes, 50));
        let memory = peer.rss_kib as f64 / sluice.rss_kib as f64;
        let _ = writeln!(
            text,
            "{:<22}{:>11} first {first:.1}, change {change:.1}, steady p50 {:.1}, CPU a change {:.1}, RSS {memory:.1}",
            sluice.proxy.name,
            sluice.size.to_string(),
            times(|row| at(&row.steady, 50)),
            peer.cpu_per_change / sluice.cpu_per_change,
        );
        let ratios = [
            ("RSS", memory),
            ("first program", first),
            ("change", change),
        ];
        write_promises(text, sluice, &ratios);
    }
}

/// Of what was measured, what was promised.
fn write_promises(text: &mut String, sluice: &Measured, ratios: &[(&str, f64)]) {
    let promised = sluice.proxy.promised;
    let promised = promised.filter(|promised| promised.services == sluice.size.services);
    for (what, ratio) in ratios {
        let least = match *what {
            "RSS" => Some(LESS_MEMORY),
            "first program" => promised.map(|promised| promised.first),
            _ => promised.and_then(|promised| promised.change),
        };
        if let Some(least) = least {
            let kept = if *ratio >= least { "kept" } else { "NOT KEPT" };
            let _ = writeln!(text, "    {kept}: {what} at least {least} times");
        }
    }
}

fn peer_of<'a>(sluice: &Measured, measured: &'a [Measured]) -> Option<&'a Measured> {
    measured.iter().find(|row| {
        row.proxy.kind == Kind::KubeProxy
            && row.proxy.plane == sluice.proxy.plane
            && row.size == sluice.size
    })
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from(
        "proxy,services,endpoints,first_ms,first_bytes,change_p50_ms,change_p99_ms,steady_p50_ms,steady_p99_ms,cpu_ms_per_change,rss_kib,programs_per_change,given_up\n",
    );
    for row in measured {
        let _ = writeln!(
            csv,
            "{},{},{},{:.1},{},{:.2},{:.2},{:.2},{:.2},{:.2},{},{},{}",
            row.proxy.name,
            row.size.services,
            row.size.endpoints,
            ms(row.first),
            row.first_bytes,
            ms(at(&row.changes, 50)),
            ms(at(&row.changes, 99)),
            ms(at(&row.steady, 50)),
            ms(at(&row.steady, 99)),
            row.cpu_per_change,
            row.rss_kib,
            row.programs_per_change
                .map_or_else(String::new, |programs| format!("{programs:.2}")),
            row.is_given_up,
        );
    }
    csv
}
