//! The programs of a runtime: those of the distribution's packages, which are unpacked and not installed, and those of the Go module
//! `e2e/container-runtime`.

use std::path::{Path, PathBuf};

use super::error::{RuntimeError, failed};
use crate::attach::REFERENCE_PLUGINS;
use crate::cache;
use crate::debian_package::{DebianPackage, with_new_lists};
use crate::go_module::{self, GoModule};

const CACHE: &str = "container-runtime";

const GO_MOD: &str = include_str!("../../container-runtime/go.mod");
const MODULE: GoModule = GoModule {
    files: &[
        ("go.mod", GO_MOD),
        ("go.sum", include_str!("../../container-runtime/go.sum")),
        (
            "cri/main.go",
            include_str!("../../container-runtime/cri/main.go"),
        ),
        (
            "gc/main.go",
            include_str!("../../container-runtime/gc/main.go"),
        ),
        (
            "pause/main.go",
            include_str!("../../container-runtime/pause/main.go"),
        ),
    ],
};
const CONTAINERD: &str = "github.com/containerd/containerd/v2";
/// Of plugins that need more than Go, or a kernel that few have.
const TAGS: &str = "no_aufs no_btrfs no_devmapper no_zfs";

/// Which containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The distribution's package, with the reference plugins of the distribution: CNI up to 1.0.0.
    Distribution,
    /// Version 2, with reference plugins built beside it: CNI 1.1.0.
    Built,
}

/// Where a release's programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Of the distribution's packages.
    unpacked: PathBuf,
    /// Of the Go module.
    built: PathBuf,
    release: Release,
}

impl Programs {
    /// Downloads and builds what is not there yet; that takes minutes.
    pub fn get(release: Release) -> Result<Self, RuntimeError> {
        let cache = cache::directory(CACHE).ok_or(RuntimeError::NoCache)?;
        Ok(Self {
            built: build(&cache)?,
            unpacked: unpack(&cache)?,
            release,
        })
    }

    /// The value of `PATH` with which this release's containerd finds its own.
    pub(super) fn path(&self) -> String {
        let unpacked = ["usr/bin", "usr/sbin"].map(|bin| self.unpacked.join(bin));
        let built = (self.release == Release::Built).then_some(&self.built);
        let inherited = std::env::var("PATH").unwrap_or_default();
        let own = built.into_iter().chain(&unpacked);
        own.map(|path| path.display().to_string())
            .chain([inherited])
            .collect::<Vec<_>>()
            .join(":")
    }

    /// A program of the Go module.
    pub(super) fn built(&self, name: &str) -> PathBuf {
        self.built.join(name)
    }

    /// The client of images; one does for all releases.
    pub(super) fn ctr(&self) -> PathBuf {
        self.unpacked.join("usr/bin/ctr")
    }

    /// The reference plugins that belong to the release.
    pub(super) fn reference_plugins(&self) -> &Path {
        match self.release {
            Release::Distribution => Path::new(REFERENCE_PLUGINS),
            Release::Built => &self.built,
        }
    }

    /// The newest version of the CNI specification that the reference plugins speak.
    pub fn cni_version(&self) -> &'static str {
        match self.release {
            Release::Distribution => "1.0.0",
            Release::Built => "1.1.0",
        }
    }
}

fn version() -> &'static str {
    let mut lines = GO_MOD
        .lines()
        .filter_map(|line| line.trim().strip_prefix(CONTAINERD));
    lines
        .find_map(|rest| rest.split_whitespace().find(|word| word.starts_with('v')))
        .unwrap_or_default()
}

fn build(cache: &Path) -> Result<PathBuf, RuntimeError> {
    let version = version();
    let flags = format!("-s -w -X {CONTAINERD}/version.Version={version}");
    let directory = MODULE.kept(cache, version, &flags)?;
    MODULE.build_missing(&directory, "containerd", |module| {
        let arguments = [
            "-tags", TAGS, "-ldflags", &flags, "-o", "built/", "./cri", "./gc", "./pause", "tool",
        ];
        go_module::build(
            module,
            &format!("containerd {version} and CNI plugins"),
            &arguments,
        )
    })?;
    Ok(directory)
}

fn unpack(cache: &Path) -> Result<PathBuf, RuntimeError> {
    let kept = cache.join("distribution");
    let _lock = cache::lock(cache).map_err(failed(format!("lock {}", cache.display())))?;
    if kept.is_dir() {
        return Ok(kept);
    }
    with_new_lists(|| unpack_known(cache, &kept))?;
    Ok(kept)
}

/// The packages that are known now.
fn unpack_known(cache: &Path, kept: &Path) -> Result<(), RuntimeError> {
    let work = tempfile::tempdir_in(cache).map_err(failed("make a directory"))?;
    for name in ["containerd", "runc"] {
        for package in DebianPackage::find(name)? {
            package.unpack(work.path())?;
        }
    }
    let containerd = work.path().join("usr/bin/containerd");
    if !containerd.is_file() {
        return Err(RuntimeError::NoContainerd);
    }
    std::fs::rename(work.keep(), kept).map_err(failed("keep the packages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        assert!(version().starts_with("v2."), "{}", version());
    }
}
