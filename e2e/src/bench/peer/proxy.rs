//! Who is measured.

use std::path::Path;
use std::time::Duration;

use sluice_kernel::iptables::Variant;

use crate::agent_process::AgentProcess;
use crate::bench::{BenchError, Size, cluster};
use crate::control_plane::ControlPlane;
use crate::kube_proxy_process::{KubeProxyMode, KubeProxyProcess};
use crate::lab::Lab;

/// Sluice or its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sluice,
    KubeProxy,
}

/// What they write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plane {
    /// Rules of iptables-legacy
    Legacy,
    /// Rules of iptables-nft
    Nft,
    /// Virtual servers; needs a kernel with IPVS
    Ipvs,
}

/// How many times less Sluice takes, at least, at a size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promised {
    pub(super) services: u32,
    pub(super) first: f64,
    pub(super) change: Option<f64>,
}

/// One of those that are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) plane: Plane,
    pub(super) promised: Option<Promised>,
    most_services: u32,
}

/// How long it may take to be healthy when it serves.
const PATIENCE: Duration = Duration::from_secs(1800);

/// All of them: of two with the same plane one right after the other.
pub(super) const PROXIES: [Proxy; 6] = [
    Proxy {
        name: "Sluice, legacy",
        kind: Kind::Sluice,
        plane: Plane::Legacy,
        promised: Some(Promised {
            services: 20_000,
            first: 3.0,
            change: Some(4.0),
        }),
        most_services: u32::MAX,
    },
    Proxy {
        name: "kube-proxy, legacy",
        kind: Kind::KubeProxy,
        plane: Plane::Legacy,
        promised: None,
        most_services: u32::MAX,
    },
    Proxy {
        name: "Sluice, nft",
        kind: Kind::Sluice,
        plane: Plane::Nft,
        promised: Some(Promised {
            services: 20_000,
            first: 20.0,
            change: None,
        }),
        most_services: u32::MAX,
    },
    Proxy {
        name: "kube-proxy, nft",
        kind: Kind::KubeProxy,
        plane: Plane::Nft,
        promised: None,
        most_services: u32::MAX,
    },
    Proxy {
        name: "Sluice, IPVS",
        kind: Kind::Sluice,
        plane: Plane::Ipvs,
        promised: Some(Promised {
            services: 5_000,
            first: 20.0,
            change: Some(100.0),
        }),
        // For a virtual machine.
        most_services: 5_000,
    },
    Proxy {
        name: "kube-proxy, IPVS",
        kind: Kind::KubeProxy,
        plane: Plane::Ipvs,
        promised: None,
        most_services: 5_000,
    },
];

impl Proxy {
    pub(super) fn is_measured_at(&self, size: Size) -> bool {
        size.services <= self.most_services
    }
}

/// One that runs on a node.
pub(super) enum Running {
    Sluice(AgentProcess),
    KubeProxy(KubeProxyProcess),
}

impl Running {
    pub(super) fn start(
        proxy: Proxy,
        agent: &Path,
        control_plane: &ControlPlane,
        lab: &Lab,
    ) -> Result<Self, BenchError> {
        match proxy.kind {
            Kind::Sluice => {
                let kubeconfig = control_plane.kubeconfig();
                let mut agent =
                    AgentProcess::with_kubeconfig(agent, cluster::NODE_NAME, &kubeconfig)?;
                let flags: &[&str] = match proxy.plane {
                    Plane::Legacy => &["--mode", "iptables", "--iptables-variant", "legacy"],
                    Plane::Nft => &["--mode", "iptables", "--iptables-variant", "nft"],
                    Plane::Ipvs => &["--mode", "ipvs"],
                };
                agent.add_flags(flags);
                agent.start(lab.node())?;
                Ok(Self::Sluice(agent))
            }
            Kind::KubeProxy => {
                let mode = match proxy.plane {
                    Plane::Legacy => KubeProxyMode::Iptables(Variant::Legacy),
                    Plane::Nft => KubeProxyMode::Iptables(Variant::Nft),
                    Plane::Ipvs => KubeProxyMode::Ipvs,
                };
                let kubeconfig = control_plane.kubeconfig();
                let started =
                    KubeProxyProcess::start(lab.node(), cluster::NODE_NAME, &kubeconfig, mode);
                Ok(Self::KubeProxy(started?))
            }
        }
    }

    pub(super) fn wait_until_healthy(&self, lab: &Lab) -> Result<(), BenchError> {
        match self {
            Self::Sluice(agent) => Ok(agent.wait_until_healthy(lab.node(), PATIENCE)?),
            Self::KubeProxy(proxy) => Ok(proxy.wait_until_synchronised(lab.node(), PATIENCE)?),
        }
    }

    /// Programs that it started so far, where it tells.
    pub(super) fn programs_started(&self, lab: &Lab) -> Result<Option<f64>, BenchError> {
        match self {
            Self::Sluice(agent) => {
                let started = agent.metric(lab.node(), "sluice_programs_started_total")?;
                Ok(Some(started))
            }
            Self::KubeProxy(_) => Ok(None),
        }
    }

    pub(super) fn id(&self) -> Result<u32, BenchError> {
        let id = match self {
            Self::Sluice(agent) => agent.id(),
            Self::KubeProxy(proxy) => Some(proxy.id()),
        };
        id.ok_or_else(|| BenchError::NotSo("the proxy has ended".to_owned()))
    }
}
