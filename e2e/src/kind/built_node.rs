//! The image of kind's nodes, from Go modules and Debian packages.

use std::io;
use std::path::Path;
use std::process::Command;

use super::daemon::Daemon;
use super::error::{KindError, failed};
use super::images::write_containerfile;
use super::kubernetes_images::{self, OF_PROGRAMS};
use super::node_image::{WITH_IMAGES, add, remove_earlier};
use super::programs::{self, Program};
use super::{images, key};
use crate::control_plane::Programs;

const CONTAINERFILE: &str = include_str!("node.Containerfile");
/// Without images for pods.
const BASE: &str = "sluice-kind/node-base";
const NAME: &str = "sluice-kind/node";
/// kind applies this manifest of a node. It wants an object in it, and there is no provisioner.
const STORAGE: &str = r#"{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"},
"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}"#;

/// Its name: another one when anything in it is.
pub(super) fn name() -> Result<String, KindError> {
    let programs = [Programs::built()?.directory(), &programs::directory()?]
        .map(|directory| directory.display().to_string());
    let names = Program::RUNTIME.into_iter().chain(Program::CNI);
    let names: Vec<&str> = names.map(Program::name).collect();
    let texts = [
        &images::debian_name(),
        &programs[0],
        &programs[1],
        &names.join(" "),
        CONTAINERFILE,
        WITH_IMAGES,
        OF_PROGRAMS,
        STORAGE,
    ];
    Ok(format!("{NAME}:{}", key(&texts)))
}

/// Builds it where the daemon does not have it, and tells its name.
pub(super) fn get(daemon: &Daemon) -> Result<String, KindError> {
    let image = name()?;
    if !images::has(daemon, &image) {
        remove_earlier(daemon, NAME)?;
        build(daemon, &image)?;
    }
    Ok(image)
}

fn build(daemon: &Daemon, image: &str) -> Result<(), KindError> {
    let debian = images::debian(daemon)?;
    let control_plane = Programs::built()?;
    let context = tempfile::tempdir().map_err(failed("make a directory"))?;
    files(control_plane.directory(), &context.path().join("files"))?;
    write_containerfile(context.path(), CONTAINERFILE)?;
    let debian = format!("DEBIAN={debian}");
    images::build(daemon, BASE, context.path(), &["--build-arg", &debian])?;
    let pods = kubernetes_images::build(daemon, control_plane.directory())?;
    add(daemon, BASE, image, &pods)
}

/// What is laid over Debian: kind's own files, and the programs.
fn files(control_plane: &Path, root: &Path) -> Result<(), KindError> {
    let kind = programs::kind_source()?.join("images/base/files");
    let cannot = || failed(format!("copy {}", kind.display()));
    // The module cache is read-only, and kind's build sets modes too.
    let copied = Command::new("cp")
        .args(["-rL", "--no-preserve=mode,ownership"])
        .arg(&kind)
        .arg(root)
        .status()
        .map_err(cannot())?;
    if !copied.success() {
        return Err(cannot()(io::Error::other(copied.to_string())));
    }
    let own = [
        (Programs::of_a_node("kubeadm")?, "usr/bin/kubeadm"),
        (Programs::of_a_node("kubelet")?, "usr/bin/kubelet"),
        (control_plane.join("kubectl"), "usr/bin/kubectl"),
    ];
    for (from, to) in own {
        install(&from, &root.join(to))?;
    }
    for program in Program::RUNTIME {
        install(
            &program.get()?,
            &root.join("usr/local/bin").join(program.name()),
        )?;
    }
    for program in Program::CNI {
        install(
            &program.get()?,
            &root.join("opt/cni/bin").join(program.name()),
        )?;
    }
    for directory in ["usr/local/bin", "kind/bin"] {
        make_executable(&root.join(directory))?;
    }
    let texts = [
        ("kind/version", Programs::version()),
        ("kind/manifests/default-storage.yaml", STORAGE),
        ("etc/cni/net.d/.keep", ""),
        ("etc/kubernetes/manifests/.keep", ""),
    ];
    for (file, text) in texts {
        let file = root.join(file);
        let directory = file.parent().unwrap_or(root);
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&file, text))
            .map_err(failed(format!("write {}", file.display())))?;
    }
    Ok(())
}

/// Copies a program to where it is to be.
pub(super) fn install(from: &Path, to: &Path) -> Result<(), KindError> {
    let directory = to.parent().unwrap_or(to);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::copy(from, to))
        .map(drop)
        .map_err(failed(format!(
            "copy {} to {}",
            from.display(),
            to.display()
        )))
}

fn make_executable(directory: &Path) -> Result<(), KindError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = || std::fs::Permissions::from_mode(0o755);
    let all = || {
        for entry in std::fs::read_dir(directory)? {
            std::fs::set_permissions(entry?.path(), mode())?;
        }
        std::fs::set_permissions(directory, mode())
    };
    all().map_err(failed(format!(
        "make what is in {} executable",
        directory.display()
    )))
}
