//! The real agent with manifests of a size: memory, and what it costs while nothing happens.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{BenchError, Size, cluster};
use crate::lab::Namespace;

/// How long the agent is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// How long it may take to its first sync.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came out.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Size.
    pub size: Size,
    /// Resident memory after the first sync, KiB.
    pub rss_kib: u64,
    /// Largest resident memory, KiB.
    pub peak_rss_kib: u64,
    /// CPU while nothing happens, percent of one core.
    pub idle_cpu_percent: f64,
}

/// An agent that is killed when the value goes.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the agent on manifests of this size.
pub fn measure(agent: &Path, size: Size) -> Result<Measured, BenchError> {
    let directory = tempfile::tempdir().map_err(BenchError::io("make a directory"))?;
    let manifests = directory.path().join("manifests");
    std::fs::create_dir(&manifests).map_err(BenchError::io("make a directory"))?;
    std::fs::write(manifests.join("cluster.json"), documents(size)).map_err(BenchError::io("write manifests"))?;
    let node = Namespace::new("agent")?;
    let mut command = Command::new(agent);
    command
        .arg("run")
        .arg("--manifests")
        .arg(&manifests)
        .args(["--node-name", cluster::NODE_NAME, "--healthz-bind-address", "127.0.0.1:10256"])
        .arg("--state-dir")
        .arg(directory.path().join("state"))
        .arg("--run-dir")
        .arg(directory.path().join("run"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = node.run(move || command.spawn())?.map_err(BenchError::io("start the agent"))?;
    let pid = child.id();
    let _agent = Agent(child);
    node.run(wait_until_healthy)??;
    let before = cpu_ticks(pid)?;
    std::thread::sleep(IDLE);
    let ticks = cpu_ticks(pid)? - before;
    // Linux counts a hundred ticks a second on every architecture (USER_HZ).
    let idle_cpu_percent = ticks as f64 / IDLE.as_secs_f64();
    Ok(Measured {
        size,
        rss_kib: memory(pid, "VmRSS:")?,
        peak_rss_kib: memory(pid, "VmHWM:")?,
        idle_cpu_percent,
    })
}

/// Services and slices, one JSON document a line.
fn documents(size: Size) -> String {
    let mut out = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{{\"name\":\"{}\"}},\"spec\":{{\"podCIDRs\":[\"10.244.0.0/24\"]}}}}\n---\n",
        cluster::NODE_NAME
    );
    for index in 0..size.services {
        let ip = cluster::cluster_ip(index);
        let _ = writeln!(
            out,
            "{{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{{\"namespace\":\"bench\",\"name\":\"service-{index}\"}},\
             \"spec\":{{\"clusterIP\":\"{ip}\",\"clusterIPs\":[\"{ip}\"],\"ports\":[{{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":{}}}]}}}}\n---",
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
             \"addressType\":\"IPv4\",\"ports\":[{{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}}],\"endpoints\":[{}]}}\n---",
            endpoints.join(",")
        );
    }
    out
}

fn wait_until_healthy() -> Result<(), BenchError> {
    let start = Instant::now();
    let mut last = String::from("no answer");
    while start.elapsed() < PATIENCE {
        if let Ok(mut stream) = TcpStream::connect("127.0.0.1:10256") {
            let mut answer = String::new();
            let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
            if asked.is_ok() && stream.read_to_string(&mut answer).is_ok() {
                if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") {
                    return Ok(());
                }
                last = answer;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(BenchError::NotSo(format!("the agent is not healthy after {} s: {last}", PATIENCE.as_secs())))
}

fn memory(pid: u32, field: &str) -> Result<u64, BenchError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(BenchError::io("read the agent's status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| BenchError::NotSo(format!("/proc tells no {field}")))
}

fn cpu_ticks(pid: u32) -> Result<u64, BenchError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(BenchError::io("read the agent's stat"))?;
    // Fields 14 and 15 of proc_pid_stat(5), counted after the program name, which may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let tick = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(tick(11) + tick(12))
}
