//! The real agent with manifests of a size: memory, and what it costs while nothing happens.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::plane::Plane;
use super::process::{cpu_ticks, memory};
use super::{BenchError, Size, cluster};
use crate::agent_process::AgentProcess;
use crate::lab::Namespace;

/// How long the agent is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// How long it may take to its first sync.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came out.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Data plane.
    pub plane: Plane,
    /// Size.
    pub size: Size,
    /// Resident memory after the first sync, KiB.
    pub rss_kib: u64,
    /// Largest resident memory, KiB.
    pub peak_rss_kib: u64,
    /// CPU while nothing happens, percent of one core.
    pub idle_cpu_percent: f64,
}

/// Runs the agent on manifests of this size.
pub fn measure(agent: &Path, plane: Plane, size: Size) -> Result<Measured, BenchError> {
    let node = Namespace::new("agent")?;
    let mut agent = AgentProcess::new(agent, cluster::NODE_NAME)?;
    agent.add_flags(plane.flags);
    agent.write("cluster.json", &documents(size))?;
    agent.start(&node)?;
    agent.wait_until_healthy(&node, PATIENCE)?;
    let mode = plane.mode();
    let in_use = format!("sluice_mode{{mode=\"{mode}\"}} 1\n");
    let entries = agent.metric(&node, "sluice_set_entries")?;
    if !agent.metrics(&node)?.contains(&in_use) || entries < f64::from(size.services) {
        return Err(BenchError::NotSo(format!(
            "the agent does not serve {size} in mode {mode}"
        )));
    }
    let process = agent
        .id()
        .ok_or_else(|| BenchError::NotSo("the agent has ended".to_owned()))?;
    let before = cpu_ticks(process)?;
    std::thread::sleep(IDLE);
    let ticks = cpu_ticks(process)? - before;
    Ok(Measured {
        plane,
        size,
        rss_kib: memory(process, "VmRSS:")?,
        peak_rss_kib: memory(process, "VmHWM:")?,
        // Linux counts a hundred ticks a second on every architecture (USER_HZ).
        idle_cpu_percent: ticks as f64 / IDLE.as_secs_f64(),
    })
}

/// Services and slices, one JSON document a line.
pub(super) fn documents(size: Size) -> String {
    let mut out = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{{\"name\":\"{}\"}},\"spec\":{{\"podCIDRs\":[\"10.244.0.0/24\"]}}}}\n",
        cluster::NODE_NAME
    );
    for index in 0..size.services {
        let ip = cluster::cluster_ip(index);
        let _ = writeln!(
            out,
            "{{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{{\"namespace\":\"bench\",\"name\":\"service-{index}\"}},\
             \"spec\":{{\"clusterIP\":\"{ip}\",\"clusterIPs\":[\"{ip}\"],\"ports\":[{{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":{}}}]}}}}",
            cluster::PORT
        );
        let endpoints: Vec<String> = cluster::made_up(index, size.endpoints)
            .into_iter()
            .map(|(address, here)| {
                let node = if here { cluster::NODE_NAME } else { "another" };
                format!("{{\"addresses\":[\"{address}\"],\"conditions\":{{\"ready\":true}},\"nodeName\":\"{node}\"}}")
            })
            .collect();
        let _ = writeln!(
            out,
            "{{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{{\"namespace\":\"bench\",\
             \"name\":\"service-{index}-1\",\"labels\":{{\"kubernetes.io/service-name\":\"service-{index}\"}}}},\
             \"addressType\":\"IPv4\",\"ports\":[{{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}}],\"endpoints\":[{}]}}",
            endpoints.join(",")
        );
    }
    out
}
