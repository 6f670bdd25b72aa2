//! What `/proc` tells of a process.

use super::BenchError;

/// A line of its status in KiB, such as `VmRSS:`.
pub(super) fn memory(pid: u32, field: &str) -> Result<u64, BenchError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(BenchError::io("read a process's status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| BenchError::NotSo(format!("/proc tells no {field}")))
}

/// What it took of processors so far. Linux counts a hundred ticks a second on every architecture (`USER_HZ`).
pub(super) fn cpu_ticks(pid: u32) -> Result<u64, BenchError> {
    Ok(ticks(pid)?.iter().take(2).sum())
}

/// The same with the programs that it ran and that have ended.
pub(super) fn cpu_ticks_with_programs(pid: u32) -> Result<u64, BenchError> {
    Ok(ticks(pid)?.iter().sum())
}

/// Fields 14 to 17 of `proc_pid_stat(5)`, counted after the program's name, which may hold blanks.
fn ticks(pid: u32) -> Result<[u64; 4], BenchError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(BenchError::io("read a process's stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let tick = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
    Ok([11, 12, 13, 14].map(|index| tick(index).unwrap_or_default()))
}
