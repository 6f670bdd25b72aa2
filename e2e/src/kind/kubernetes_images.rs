//! Images of what Kubernetes itself runs in pods, by the names that kubeadm and the container runtime ask for.

use std::path::Path;
use std::process::Command;

use super::built_node::install;
use super::daemon::Daemon;
use super::error::{KindError, failed};
use super::images::{self, write_containerfile};
use super::programs::{self, Program};
use crate::control_plane::Programs;

pub(super) const OF_PROGRAMS: &str =
    "FROM scratch\nCOPY programs/ /usr/local/bin/\nENV PATH=/usr/local/bin\n";

/// Makes images of everything that a new cluster runs in pods, and tells their names. Those of the control plane share a layer; workers need not unpack it.
pub(super) fn build(daemon: &Daemon, control_plane: &Path) -> Result<Vec<String>, KindError> {
    const PROGRAMS: &str = "sluice-kind/programs";
    let context = tempfile::tempdir().map_err(failed("make a directory"))?;
    let inside = |base: &str, name: &str| context.path().join(base).join("programs").join(name);
    install(
        &control_plane.join("control-plane"),
        &inside("control-plane", "control-plane"),
    )?;
    install(&Program::CoreDns.get()?, &inside("coredns", "coredns"))?;
    let pause = inside("pause", "pause");
    let directory = pause.parent().unwrap_or(&pause);
    std::fs::create_dir_all(directory).map_err(failed("make a directory"))?;
    compile_pause(&pause)?;
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        std::os::unix::fs::symlink("control-plane", inside("control-plane", name))
            .map_err(failed(format!("name a program {name}")))?;
    }
    let bases = ["control-plane", "coredns", "pause"];
    for base in bases {
        let context = context.path().join(base);
        write_containerfile(&context, OF_PROGRAMS)?;
        images::build(daemon, &format!("{PROGRAMS}-{base}"), &context, &[])?;
    }
    let empty = tempfile::tempdir().map_err(failed("make a directory"))?;
    let mut made = Vec::new();
    for reference in references()? {
        let name = reference
            .rsplit('/')
            .next()
            .and_then(|last| last.split(':').next())
            .unwrap_or_default();
        let Some(base) = bases.iter().find(|base| inside(base, name).exists()) else {
            // kube-proxy: nobody runs it in these clusters.
            continue;
        };
        let text = format!("FROM {PROGRAMS}-{base}\nENTRYPOINT [\"/usr/local/bin/{name}\"]\n");
        write_containerfile(empty.path(), &text)?;
        images::build(daemon, &reference, empty.path(), &[])?;
        made.push(reference);
    }
    Ok(made)
}

fn references() -> Result<Vec<String>, KindError> {
    let kubeadm = Programs::of_a_node("kubeadm")?;
    let output = Command::new(&kubeadm)
        .args([
            "config",
            "images",
            "list",
            "--kubernetes-version",
            Programs::version(),
        ])
        .output()
        .map_err(failed("run kubeadm"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let runtime = programs::kind_source()?.join("images/base/files/etc/containerd/config.toml");
    let runtime =
        std::fs::read_to_string(&runtime).map_err(failed(format!("read {}", runtime.display())))?;
    let sandbox = runtime
        .lines()
        .find_map(|line| line.trim().strip_prefix("sandbox_image = "));
    Ok(listed
        .lines()
        .chain(sandbox.map(|image| image.trim_matches('"')))
        .map(ToOwned::to_owned)
        .collect())
}

/// The program of Kubernetes that holds a pod's namespaces open, and the only one in C.
fn compile_pause(to: &Path) -> Result<(), KindError> {
    let version = format!("-DVERSION={}", Programs::version());
    let output = Command::new("cc")
        .args(["-Os", "-s", "-static", &version, "-o"])
        .arg(to)
        .arg(Programs::source()?.join("build/pause/linux/pause.c"))
        .output()
        .map_err(failed("run cc"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(KindError::Program {
        command: "cc pause.c".to_owned(),
        message: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
