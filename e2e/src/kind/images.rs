//! Images that are built here, one after the other, from nothing but what this machine has.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::daemon::{Daemon, end_of};
use super::error::{KindError, failed};

/// The systemd of this release starts on cgroup v1 and v2.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,util-linux,mount,kmod,procps,bash,iptables,nftables,ipset,conntrack,iproute2,ethtool,socat,\
                        libseccomp2,pigz,e2fsprogs,ca-certificates,jq";
const DEBIAN: &str = include_str!("debian.sh");

/// Whether the daemon has an image of this name.
pub(super) fn has(daemon: &Daemon, image: &str) -> bool {
    daemon.run("docker", &["image", "inspect", image]).is_ok()
}

/// Says what an image of a directory is made of, for [`build`].
pub(super) fn write_containerfile(context: &Path, text: &str) -> Result<(), KindError> {
    std::fs::write(context.join("Dockerfile"), text).map_err(failed("write a Containerfile"))
}

/// Builds an image of a directory.
pub(super) fn build(
    daemon: &Daemon,
    image: &str,
    context: &Path,
    more: &[&str],
) -> Result<(), KindError> {
    let context = context.display().to_string();
    let arguments = [
        &["build", "--network=none", "--tag", image],
        more,
        &[context.as_str()],
    ]
    .concat();
    daemon.run("docker", &arguments).map(drop)
}

/// The name of [`debian`]'s image.
pub(super) fn debian_name() -> String {
    format!(
        "sluice-kind/debian:{}",
        super::key(&[SUITE, PACKAGES, DEBIAN])
    )
}

/// The image with the Debian packages of a node; made now where that is necessary.
pub(super) fn debian(daemon: &Daemon) -> Result<String, KindError> {
    let image = debian_name();
    if has(daemon, &image) {
        return Ok(image);
    }
    // A mirror may fail for a moment.
    let root = bootstrapped().or_else(|_| bootstrapped());
    let root = root.or_else(|_| bootstrapped())?;
    let mut tar = Command::new("tar")
        .args(["--numeric-owner", "-c", "."])
        .current_dir(root.path())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("run tar"))?;
    if let Some(stream) = tar.stdout.take() {
        daemon.run_with_input("docker", &["import", "-", &image], stream)?;
    }
    tar.wait().map_err(failed("run tar"))?;
    Ok(image)
}

/// The packages' files in a new directory.
fn bootstrapped() -> Result<TempDir, KindError> {
    let root = tempfile::tempdir().map_err(failed("make a directory"))?;
    let command = [
        "-c",
        DEBIAN,
        "debian.sh",
        SUITE,
        &root.path().display().to_string(),
        PACKAGES,
    ];
    let output = Command::new("/bin/sh")
        .args(command)
        .output()
        .map_err(failed("run debootstrap"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(KindError::Program {
            command: format!("debootstrap {SUITE}"),
            message: end_of(&String::from_utf8_lossy(&said)),
        });
    }
    Ok(root)
}
