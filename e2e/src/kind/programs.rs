//! What a cluster of kind consists of beside Kubernetes: kind and Helm, and the node's container runtime, CNI plugins and DNS
//! server, built once from `e2e/kind-programs`.

use std::path::PathBuf;

use super::error::KindError;
use crate::cache;
use crate::go_module::{self, GoError, GoModule};

const GO_MOD: &str = include_str!("../../kind-programs/go.mod");
const MODULE: GoModule = GoModule {
    files: &[
        ("go.mod", GO_MOD),
        ("go.sum", include_str!("../../kind-programs/go.sum")),
        ("main.go", include_str!("../../kind-programs/main.go")),
    ],
};

const CONTAINERD: &str = "github.com/containerd/containerd/v2";
/// What needs C libraries, or a file system that nodes do not have.
const CONTAINERD_TAGS: &str = "no_aufs no_zfs no_btrfs no_devmapper";
const NO_SYMBOLS: &str = "-s -w";

/// A program of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Makes clusters.
    Kind,
    /// Installs charts.
    Helm,
    /// Container runtime of the nodes.
    Containerd,
    /// Its process beside each pod.
    ContainerdShim,
    /// Its client.
    Ctr,
    /// Starts containers.
    Runc,
    /// CNI plugin of the pod network.
    Bridge,
    /// CNI plugin that numbers pods.
    HostLocal,
    /// CNI plugin for `lo`.
    Loopback,
    /// CNI plugin for host ports.
    PortMap,
    /// DNS server of the cluster.
    CoreDns,
}

impl Program {
    /// Those of the nodes' `/usr/local/bin`.
    pub(super) const RUNTIME: [Self; 4] = [
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Runc,
    ];
    /// Those of the nodes' `/opt/cni/bin`.
    pub(super) const CNI: [Self; 3] = [Self::HostLocal, Self::Loopback, Self::PortMap];

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CoreDns => "coredns",
            _ => self.package().rsplit('/').next().unwrap_or_default(),
        }
    }

    /// The program; built now where that is necessary, which takes up to minutes.
    pub fn get(self) -> Result<PathBuf, KindError> {
        let directory = directory()?;
        let (flags, file) = (self.link_flags(), format!("built/{}", self.name()));
        let tags = match self {
            Self::Containerd | Self::Ctr => CONTAINERD_TAGS,
            // Pods with the runtime's default profile do not start without.
            Self::Runc => "seccomp",
            _ => "",
        };
        let arguments = [
            "-tags",
            tags,
            "-ldflags",
            &flags,
            "-o",
            &file,
            self.package(),
        ];
        MODULE.build_missing(&directory, self.name(), |module| match self {
            Self::Runc => go_module::build_with_c(module, self.name(), &arguments),
            _ => go_module::build(module, self.name(), &arguments),
        })?;
        Ok(directory.join(self.name()))
    }

    fn package(self) -> &'static str {
        match self {
            Self::Kind => "sigs.k8s.io/kind",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Containerd => "github.com/containerd/containerd/v2/cmd/containerd",
            Self::ContainerdShim => {
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
            }
            Self::Ctr => "github.com/containerd/containerd/v2/cmd/ctr",
            Self::Runc => "github.com/opencontainers/runc",
            Self::Bridge => "github.com/containernetworking/plugins/plugins/main/bridge",
            Self::HostLocal => "github.com/containernetworking/plugins/plugins/ipam/host-local",
            Self::Loopback => "github.com/containernetworking/plugins/plugins/main/loopback",
            Self::PortMap => "github.com/containernetworking/plugins/plugins/meta/portmap",
            Self::CoreDns => ".",
        }
    }

    /// Programs that are asked for their version are told it.
    fn link_flags(self) -> String {
        match self {
            Self::Containerd | Self::ContainerdShim | Self::Ctr => format!(
                "{NO_SYMBOLS} -X {CONTAINERD}/version.Version={}",
                version(CONTAINERD)
            ),
            Self::Runc => {
                let version = version(self.package());
                format!(
                    "{NO_SYMBOLS} -X main.version={}",
                    version.trim_start_matches('v')
                )
            }
            _ => NO_SYMBOLS.to_owned(),
        }
    }
}

/// The source of kind, with the files that it puts on nodes.
pub(super) fn kind_source() -> Result<PathBuf, GoError> {
    MODULE.source_of("sigs.k8s.io/kind")
}

/// Where the programs are: what is made of them is made anew when this changes.
pub(super) fn directory() -> Result<PathBuf, KindError> {
    let cache = cache::directory("kind-programs").ok_or(KindError::NoCache)?;
    Ok(MODULE.kept(&cache, "go", "")?)
}

/// The version of a module that ours requires.
fn version(module: &str) -> &'static str {
    let required = |line: &'static str| {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word == "require");
        (words.next() == Some(module)).then(|| words.next())?
    };
    GO_MOD.lines().find_map(required).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_its_version_has_one() {
        for module in [
            CONTAINERD,
            Program::Runc.package(),
            "github.com/coredns/coredns",
        ] {
            assert!(
                version(module).starts_with('v'),
                "{module}: {:?}",
                version(module)
            );
        }
    }

    #[test]
    fn every_program_but_the_modules_own_is_one_of_its_tools() {
        let programs = Program::RUNTIME.into_iter().chain(Program::CNI);
        for program in programs.chain([Program::Kind, Program::Helm, Program::Bridge]) {
            let tool = format!("\t{}", program.package());
            assert!(GO_MOD.lines().any(|line| line == tool), "{program:?}");
        }
    }
}
