//! The programs of a control plane: those of `KUBEBUILDER_ASSETS`, or built once from `e2e/control-plane` and kept.

use std::path::{Path, PathBuf};

use super::Part;
use super::error::ControlPlaneError;
use crate::cache;
use crate::go_module::{self, GoError, GoModule};

/// Says where built programs are kept.
pub const CACHE_VARIABLE: &str = "SLUICE_CONTROL_PLANE_CACHE";
/// Says where programs are that need not be built, as it does for other tools that test against an API server.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

const GO_MOD: &str = include_str!("../../control-plane/go.mod");
const MODULE: GoModule = GoModule {
    files: &[
        ("go.mod", GO_MOD),
        ("go.sum", include_str!("../../control-plane/go.sum")),
        ("main.go", include_str!("../../control-plane/main.go")),
    ],
};

const KUBECTL: &str = "kubectl";
const SCHEDULER: &str = "kube-scheduler";
/// The one file that [`Part::ALL`] and [`SCHEDULER`] are names of.
const TOGETHER: &str = "control-plane";

/// A directory with etcd, kube-apiserver and kubectl, and where it was built here with kube-controller-manager.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
    built: bool,
}

impl Programs {
    /// The programs, built now where that is necessary; that takes minutes.
    pub fn get() -> Result<Self, ControlPlaneError> {
        let assets = std::env::var_os(ASSETS_VARIABLE).filter(|directory| !directory.is_empty());
        if let Some(directory) = assets.map(PathBuf::from) {
            eprintln!(
                "{ASSETS_VARIABLE} is set: the control plane's programs are those in {}",
                directory.display()
            );
            return Ok(Self {
                directory,
                built: false,
            });
        }
        Self::built()
    }

    /// The programs built from the module here, whatever `KUBEBUILDER_ASSETS` says; built now where that is necessary.
    pub fn built() -> Result<Self, ControlPlaneError> {
        let programs = Self {
            directory: kept()?,
            built: true,
        };
        MODULE.build_missing(&programs.directory, TOGETHER, |module| {
            build(module, ".", TOGETHER)?;
            let names = Part::ALL.map(Part::program);
            for name in names.into_iter().chain([SCHEDULER]) {
                std::os::unix::fs::symlink(TOGETHER, module.join("built").join(name)).map_err(
                    |source| GoError::Io {
                        what: format!("name a program {name}"),
                        source,
                    },
                )?;
            }
            // Called most often: with the others in its file it takes twice as long to begin.
            build(module, "k8s.io/kubernetes/cmd/kubectl", KUBECTL)
        })?;
        Ok(programs)
    }

    /// kube-proxy, in a file of its own so that its memory is its own; built now where that is necessary.
    pub fn kube_proxy() -> Result<PathBuf, ControlPlaneError> {
        Self::of_a_node("kube-proxy")
    }

    /// A program that nodes run (`kubeadm`, `kubelet`, `kube-proxy`), in a file of its own; built now where that is necessary.
    pub fn of_a_node(name: &str) -> Result<PathBuf, ControlPlaneError> {
        let directory = kept()?;
        MODULE.build_missing(&directory, name, |module| {
            build(module, &format!("k8s.io/kubernetes/cmd/{name}"), name)
        })?;
        Ok(directory.join(name))
    }

    /// Where the source of Kubernetes is; downloaded where that is necessary.
    pub fn source() -> Result<PathBuf, ControlPlaneError> {
        Ok(MODULE.source_of("k8s.io/kubernetes")?)
    }

    /// The Kubernetes version of built programs, as `v1.2.3`.
    pub fn version() -> &'static str {
        let mut lines = GO_MOD.lines();
        lines
            .find_map(|line| line.strip_prefix("require k8s.io/kubernetes "))
            .unwrap_or_default()
    }

    /// Whether they were built from the module here, not found in `KUBEBUILDER_ASSETS`.
    pub fn are_built(&self) -> bool {
        self.built
    }

    /// Where they are: a directory that `KUBEBUILDER_ASSETS` may name.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn server(&self, part: Part) -> Result<PathBuf, ControlPlaneError> {
        self.program(part.program())
    }

    pub(super) fn kubectl(&self) -> Result<PathBuf, ControlPlaneError> {
        self.program(KUBECTL)
    }

    fn program(&self, name: &str) -> Result<PathBuf, ControlPlaneError> {
        let program = self.directory.join(name);
        if program.is_file() {
            Ok(program)
        } else {
            Err(ControlPlaneError::NotAmongAssets { program })
        }
    }
}

/// Where the programs of this library's module are kept.
fn kept() -> Result<PathBuf, ControlPlaneError> {
    let cache = match std::env::var_os(CACHE_VARIABLE) {
        Some(cache) => PathBuf::from(cache),
        None => cache::directory("control-plane").ok_or(ControlPlaneError::NoCache {
            variable: CACHE_VARIABLE,
        })?,
    };
    Ok(MODULE.kept(&cache, Programs::version(), &link_flags())?)
}

fn build(module: &Path, package: &str, name: &str) -> Result<(), GoError> {
    let what = format!("{name} of Kubernetes {}", Programs::version());
    let (flags, file) = (link_flags(), format!("built/{name}"));
    go_module::build(module, &what, &["-ldflags", &flags, "-o", &file, package])
}

/// No symbols, and the version that a program says it has; without it all of them call themselves v0.0.0.
fn link_flags() -> String {
    let version = Programs::version();
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || numbers.next().unwrap_or_default();
    let (major, minor) = (number(), number());
    let of_package = |package| {
        let value = |name, value| format!(" -X {package}.{name}={value}");
        [
            value("gitVersion", version),
            value("gitMajor", major),
            value("gitMinor", minor),
            value("gitTreeState", "clean"),
        ]
        .concat()
    };
    let packages = [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ];
    format!("-s -w{}", packages.map(of_package).concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module_and_its_staging_modules_belong_to_it() {
        let version = Programs::version();
        assert!(version.starts_with("v1."), "{version}");
        let staging = version.replacen("v1.", "v0.", 1);
        let replacements: Vec<&str> = GO_MOD
            .lines()
            .filter(|line| line.contains(" => "))
            .collect();
        assert!(replacements.len() > 20, "{replacements:?}");
        for line in replacements {
            assert!(line.ends_with(&format!(" {staging}")), "{line}");
        }
    }

    #[test]
    fn programs_are_told_their_version() {
        let flags = link_flags();
        let version = Programs::version();
        assert!(flags.contains(&format!(
            "-X k8s.io/component-base/version.gitVersion={version} "
        )));
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMajor=1 "));
    }
}
