//! The agent's own process, by the usual names of Prometheus clients.

use std::fmt;
use std::fs;
use std::sync::OnceLock;

use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use jiff::Timestamp;

use super::scraped::{counter, gauge};

#[derive(Debug)]
struct Process;

pub(super) fn register(registry: &mut Registry) {
    started();
    registry.register_collector(Box::new(Process));
}

fn started() -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    *STARTED.get_or_init(|| Timestamp::now().as_duration().as_secs_f64())
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name, help, value| gauge(&mut encoder, name, help, value);
        gauge(
            "process_start_time_seconds",
            "Start of the process, seconds since the epoch",
            started(),
        )?;
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            let open = u32::try_from(fds.count()).unwrap_or(u32::MAX);
            gauge("process_open_fds", "Open file descriptors", f64::from(open))?;
        }
        if let Some(seconds) = cpu_seconds() {
            counter(
                &mut encoder,
                "process_cpu_seconds",
                "CPU time, user and system",
                seconds,
            )?;
        }
        Ok(())
    }
}

/// Field 2 of `/proc/self/statm`, in pages.
fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u32 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(f64::from(pages) * sysconf_f64(SysconfVar::PAGE_SIZE)?)
}

/// Fields 14 and 15 of `/proc/self/stat`, in clock ticks; the name in parentheses may hold blanks.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / sysconf_f64(SysconfVar::CLK_TCK)?)
}

fn sysconf_f64(variable: SysconfVar) -> Option<f64> {
    let value = sysconf(variable).ok()??;
    u32::try_from(value).ok().map(f64::from)
}
