//! What programming and connections cost. With iptables, next to the cheapest thing that could be done instead: the bare
//! `iptables-restore` of the same text. Where the kernel has IPVS, next to each other.
//!
//! Times on a shared machine are noise; ratios within one run and counts are what this is for.

use std::io;
use std::path::Path;
use std::time::Duration;

use sluice_agent::data_plane::DataPlaneError;
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::IptablesError;

use crate::agent_process::AgentProcessError;
use crate::attach::AttachError;
use crate::control_plane::ControlPlaneError;
use crate::kube_proxy_process::KubeProxyError;
use crate::lab::LabError;
use crate::operator_process::OperatorProcessError;
use crate::packets::ipvs;
use plane::{MODES, Plane, VARIANTS};
use traffic::Node;
use traffic::{first_packet, rhythm, streams};

pub mod agent;
mod api;
pub mod attach;
pub mod bare;
pub mod cluster;
pub mod operator;
pub mod peer;
pub mod plane;
mod planning;
pub mod plot;
mod process;
pub mod programming;
pub mod report;
pub mod traffic;

/// Errors of a benchmark run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentProcessError),
    /// Attachments of pods.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The API server.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// kube-proxy.
    #[error(transparent)]
    KubeProxy(#[from] KubeProxyError),
    /// The operator.
    #[error(transparent)]
    Operator(#[from] OperatorProcessError),
    /// The data plane.
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    /// The bare program.
    #[error("bare iptables-restore")]
    Bare(#[from] IptablesError),
    /// The sets that the bare program's rules refer to.
    #[error("sets for the bare iptables-restore")]
    Sets(#[from] AddressSetError),
    /// Files, processes.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What was to be measured did not happen.
    #[error("{0}")]
    NotSo(String),
}

impl BenchError {
    /// An error of files or processes.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Number of services and endpoints of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Services, one TCP cluster IP each.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u16,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {}", self.services, self.endpoints)
    }
}

const fn size(services: u32, endpoints: u16) -> Size {
    Size {
        services,
        endpoints,
    }
}

/// The sizes at which iptables is measured next to the bare program.
pub const SIZES: [Size; 6] = [
    size(1, 4),
    size(100, 4),
    size(1_000, 4),
    size(5_000, 4),
    size(20_000, 4),
    size(4_000, 20),
];

/// The sizes at which iptables and IPVS are measured next to each other.
pub const MODE_SIZES: [Size; 6] = [
    size(1, 4),
    size(1_000, 4),
    size(5_000, 4),
    size(20_000, 4),
    size(50_000, 4),
    size(4_000, 20),
];

/// The size at which memory and connections are measured.
const MANY: u32 = 20_000;

/// Measures iptables next to the bare program, and writes what came out below `out`.
pub fn next_to_bare(agent: &Path, out: &Path, most_services: u32) -> Result<(), BenchError> {
    let sizes = up_to(&SIZES, most_services);
    let mut report = report::Report::default();
    report.measure_programming(&VARIANTS, &sizes, true)?;
    let many = largest(&sizes);
    for size in [SIZES[0], many] {
        report.measure_agent(agent, plane::NFT, size)?;
    }
    for plane in VARIANTS {
        let (mut alone, mut many) = report.measure_first_packet(plane, many)?;
        report.rhythms.push(rhythm::measure(&mut alone, &mut many)?);
    }
    report.put_out(out)
}

/// Measures iptables and IPVS next to each other, and writes what came out below `out`.
pub fn modes(agent: &Path, out: &Path, most_services: u32) -> Result<(), BenchError> {
    if let Some(reason) = ipvs::missing() {
        return Err(BenchError::NotSo(format!(
            "this kernel cannot run IPVS ({reason}): run `make bench-vm`"
        )));
    }
    let sizes = up_to(&MODE_SIZES, most_services);
    let mut report = report::Report::default();
    report.measure_programming(&MODES, &sizes, false)?;
    let many = largest(&sizes);
    report.measure_programming(&[plane::IPVS_DUMMY], &up_to(&sizes, many.services), false)?;
    for plane in MODES {
        report.measure_agent(agent, plane, many)?;
    }
    for plane in MODES {
        let (_, mut many) = report.measure_first_packet(plane, many)?;
        report.streams.push(streams::measure(&mut many)?);
    }
    report.put_out(out)
}

fn up_to(sizes: &[Size], most_services: u32) -> Vec<Size> {
    let few = |size: &&Size| size.services <= most_services;
    sizes.iter().filter(few).copied().collect()
}

/// The largest, but not more than [`MANY`] services.
fn largest(sizes: &[Size]) -> Size {
    let sizes = sizes.iter().filter(|size| size.services <= MANY);
    let largest = sizes.max_by_key(|size| size.services);
    largest.copied().unwrap_or(SIZES[0])
}

impl report::Report {
    fn measure_programming(
        &mut self,
        planes: &[Plane],
        sizes: &[Size],
        against_bare: bool,
    ) -> Result<(), BenchError> {
        for plane in planes {
            for size in sizes {
                let measured = programming::measure(*plane, *size, against_bare)?;
                eprintln!("programming {size}, {plane}: {}", measured.summary());
                self.programming.push(measured);
            }
        }
        Ok(())
    }

    fn measure_agent(&mut self, agent: &Path, plane: Plane, size: Size) -> Result<(), BenchError> {
        eprintln!("agent with {size}, {plane}");
        self.agent.push(agent::measure(agent, plane, size)?);
        Ok(())
    }

    /// Returns the node with one service and the one with many.
    fn measure_first_packet(
        &mut self,
        plane: Plane,
        many: Size,
    ) -> Result<(Node, Node), BenchError> {
        eprintln!("connections with 1 and {} services, {plane}", many.services);
        let alone = Node::start(plane, size(1, many.endpoints))?;
        let many = Node::start(plane, many)?;
        self.first_packets
            .push(first_packet::measure(&alone, &many)?);
        Ok((alone, many))
    }

    fn put_out(&self, out: &Path) -> Result<(), BenchError> {
        print!("{}", self.table());
        std::fs::create_dir_all(out).map_err(BenchError::io(format!("make {}", out.display())))?;
        self.write(out)
    }
}

/// The middle of some times.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
