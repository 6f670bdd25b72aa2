//! What programming costs, next to the cheapest thing that could be done instead: the bare `iptables-restore` of the same text.
//!
//! Times on a shared machine are noise; ratios within one run and counts are what this is for.

use std::io;
use std::path::Path;
use std::time::Duration;

use sluice_agent::data_plane::DataPlaneError;
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::{IptablesError, Variant};

use crate::agent_process::AgentProcessError;
use crate::lab::LabError;

pub mod agent;
pub mod bare;
pub mod cluster;
pub mod plot;
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

/// The sizes that are measured.
pub const SIZES: [Size; 6] = [
    Size {
        services: 1,
        endpoints: 4,
    },
    Size {
        services: 100,
        endpoints: 4,
    },
    Size {
        services: 1_000,
        endpoints: 4,
    },
    Size {
        services: 5_000,
        endpoints: 4,
    },
    Size {
        services: 20_000,
        endpoints: 4,
    },
    Size {
        services: 4_000,
        endpoints: 20,
    },
];

/// Both variants.
pub const VARIANTS: [Variant; 2] = [Variant::Legacy, Variant::Nft];

/// Runs all of it and writes what came out below `out`.
pub fn run(agent: &Path, out: &Path, sizes: &[Size]) -> Result<(), BenchError> {
    std::fs::create_dir_all(out).map_err(BenchError::io(format!("make {}", out.display())))?;
    let mut report = report::Report::default();
    for variant in VARIANTS {
        for size in sizes {
            eprintln!("programming {size}, {variant}");
            report
                .programming
                .push(programming::measure(variant, *size)?);
        }
    }
    let largest = sizes
        .iter()
        .copied()
        .max_by_key(|size| size.services)
        .unwrap_or(SIZES[0]);
    for size in [SIZES[0], largest] {
        eprintln!("agent with {size}");
        report.agent.push(agent::measure(agent, size)?);
    }
    for variant in VARIANTS {
        eprintln!(
            "connections with 1 and {} services, {variant}",
            largest.services
        );
        report.traffic.push(traffic::measure(variant, largest)?);
    }
    print!("{}", report.table());
    report.write(out)
}

/// The middle of some times.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
