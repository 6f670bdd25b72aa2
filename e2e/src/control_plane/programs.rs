//! The programs of a control plane: those of `KUBEBUILDER_ASSETS`, or built once from `e2e/control-plane` and kept.
//!
//! The Go module is part of this library, so that what was built always belongs to what asks for it: the directory in the
//! cache is named after the module's text.

use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use siphasher::sip::SipHasher13;

use super::Part;
use super::error::{ControlPlaneError, failed};
use crate::cache;

/// Says where built programs are kept.
pub const CACHE_VARIABLE: &str = "SLUICE_CONTROL_PLANE_CACHE";
/// Says where programs are that need not be built, as it does for other tools that test against an API server.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

const GO_MOD: &str = include_str!("../../control-plane/go.mod");
const GO_SUM: &str = include_str!("../../control-plane/go.sum");
const MAIN: &str = include_str!("../../control-plane/main.go");

const KUBECTL: &str = "kubectl";
/// The one file that [`Part::ALL`] and [`KUBECTL`] are names of.
const TOGETHER: &str = "control-plane";
const KUBE_PROXY: &str = "kube-proxy";
const KUBE_PROXY_PACKAGE: &str = "k8s.io/kubernetes/cmd/kube-proxy";

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
        let programs = Self {
            directory: kept()?,
            built: true,
        };
        programs.build_missing(TOGETHER, |module| {
            build(module, ".", TOGETHER)?;
            let names = Part::ALL.map(Part::program);
            for name in names.into_iter().chain([KUBECTL]) {
                std::os::unix::fs::symlink(TOGETHER, module.join("built").join(name))
                    .map_err(failed(format!("name a program {name}")))?;
            }
            Ok(())
        })?;
        Ok(programs)
    }

    /// kube-proxy, in a file of its own so that its memory is its own; built now where that is necessary.
    pub fn kube_proxy() -> Result<PathBuf, ControlPlaneError> {
        let programs = Self {
            directory: kept()?,
            built: true,
        };
        programs.build_missing(KUBE_PROXY, |module| {
            build(module, KUBE_PROXY_PACKAGE, KUBE_PROXY)
        })?;
        Ok(programs.directory.join(KUBE_PROXY))
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

    /// Has a file of this name made below `built` in a copy of the module, and moves all that is there to the others.
    fn build_missing(
        &self,
        name: &str,
        build: impl FnOnce(&Path) -> Result<(), ControlPlaneError>,
    ) -> Result<(), ControlPlaneError> {
        let there = || self.directory.join(name).is_file();
        if there() {
            return Ok(());
        }
        let _lock = cache::lock(&self.directory)
            .map_err(failed(format!("lock {}", self.directory.display())))?;
        // Another process may have made it while this one waited.
        if there() {
            return Ok(());
        }
        let module = tempfile::tempdir_in(&self.directory).map_err(failed("make a directory"))?;
        write_module(module.path()).map_err(failed("write the Go module"))?;
        build(module.path())?;
        move_all(&module.path().join("built"), &self.directory, name)
            .map_err(failed(format!("keep {name}")))?;
        Ok(())
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
    let mut hasher = SipHasher13::new();
    for text in [GO_MOD, GO_SUM, MAIN, &link_flags()] {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff);
    }
    let cache = std::path::absolute(cache).map_err(failed("find the cache directory"))?;
    Ok(cache.join(format!("{}-{:016x}", Programs::version(), hasher.finish())))
}

fn write_module(directory: &Path) -> io::Result<()> {
    std::fs::create_dir(directory.join("built"))?;
    for (file, text) in [("go.mod", GO_MOD), ("go.sum", GO_SUM), ("main.go", MAIN)] {
        std::fs::write(directory.join(file), text)?;
    }
    Ok(())
}

/// The awaited file comes last: where it is, the others are.
fn move_all(from: &Path, to: &Path, last: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != last {
            std::fs::rename(from.join(&name), to.join(&name))?;
        }
    }
    std::fs::rename(from.join(last), to.join(last))
}

/// An error where there is no Go, or one that is too old and may not fetch a newer one.
fn can_build(module: &Path) -> Result<(), ControlPlaneError> {
    let no_go = |message| ControlPlaneError::NoGo { message };
    // Reads the module, and with that the version it wants, and needs no network.
    let output = go(module, &["list", "-m"]).map_err(|error| no_go(format!("go: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(no_go(said(&output)))
    }
}

fn build(module: &Path, package: &str, name: &str) -> Result<(), ControlPlaneError> {
    can_build(module)?;
    eprintln!(
        "building {name} of Kubernetes {}: minutes, once",
        Programs::version()
    );
    let started = Instant::now();
    let flags = link_flags();
    let file = format!("built/{name}");
    let arguments = [
        "build",
        "-buildvcs=false",
        "-trimpath",
        "-ldflags",
        &flags,
        "-o",
        &file,
        package,
    ];
    let output = go(module, &arguments).map_err(failed("run go"))?;
    if output.status.success() {
        eprintln!("built {name} in {:.0} s", started.elapsed().as_secs_f64());
        Ok(())
    } else {
        Err(ControlPlaneError::Build {
            command: format!("go build {package}"),
            message: said(&output),
        })
    }
}

fn go(module: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new("go")
        .args(arguments)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .output()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

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
    fn what_is_missing_is_built_once_however_many_ask_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let programs = Programs {
            directory: directory.path().join("cache"),
            built: true,
        };
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let made = programs.build_missing("program", |module| {
                        builds.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(50));
                        std::fs::write(module.join("built/program"), "").unwrap();
                        std::fs::write(module.join("built/beside"), "").unwrap();
                        Ok(())
                    });
                    made.unwrap();
                    assert!(programs.program("program").is_ok());
                    assert!(programs.program("beside").is_ok());
                });
            }
        });
        assert_eq!(builds.into_inner(), 1);
        // Nothing is left of the build.
        assert_eq!(programs.directory.read_dir().unwrap().count(), 3);
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
