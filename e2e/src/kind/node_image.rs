//! The image of kind's nodes, from Go modules and Debian packages, for where no registry of images is reachable.

use std::io;
use std::path::Path;
use std::process::Command;

use super::daemon::Daemon;
use super::error::{KindError, failed};
use super::images::write_containerfile;
use super::pod_images::PodImage;
use super::programs::{self, Program};
use super::{images, key};
use crate::control_plane::Programs;

const CONTAINERFILE: &str = include_str!("node.Containerfile");
const WITH_IMAGES: &str = include_str!("node-with-images.Containerfile");
const OF_PROGRAMS: &str = "FROM scratch\nCOPY programs/ /usr/local/bin/\nENV PATH=/usr/local/bin\n";
/// Without images for pods.
const BASE: &str = "sluice-kind/node-base";
const NAME: &str = "sluice-kind/node";
const NAME_WITH_IMAGES: &str = "sluice-kind/node-with-images";
/// kind applies this manifest of a node. It wants an object in it, and there is no provisioner.
const STORAGE: &str = r#"{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"},
"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}"#;

/// Names an archive, as `docker save` writes it, with the image to use instead.
const ARCHIVE_VARIABLE: &str = "SLUICE_KIND_NODE_IMAGE";

/// Builds the image of a node that has these images for pods, where the daemon does not have it, and tells its name.
pub(super) fn get(daemon: &Daemon, pods: &[PodImage]) -> Result<String, KindError> {
    let node = match std::env::var_os(ARCHIVE_VARIABLE) {
        Some(archive) => load(daemon, &archive.to_string_lossy())?,
        None => name()?,
    };
    let image = name_with(&node, pods)?;
    if !images::has(daemon, &image) {
        // Before what it is made of.
        remove_earlier(daemon, NAME_WITH_IMAGES)?;
        if !images::has(daemon, &node) {
            remove_earlier(daemon, NAME)?;
            build(daemon, &node)?;
        }
        if image != node {
            add_all(daemon, &node, &image, pods)?;
        }
        // Those of an earlier text of this library, and the stages of this one.
        daemon.run("docker", &["image", "prune", "--force"])?;
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
    let pods = pod_images(daemon, control_plane.directory())?;
    add(daemon, BASE, image, &pods)
}

/// Every build of what is in an image makes another one of that name.
fn remove_earlier(daemon: &Daemon, name: &str) -> Result<(), KindError> {
    let earlier = daemon.run("docker", &["image", "ls", "--quiet", name])?;
    for id in earlier.lines() {
        daemon.run("docker", &["image", "rm", "--force", id])?;
    }
    Ok(())
}

/// Builds these, and makes an image of a node's that has them.
fn add_all(daemon: &Daemon, node: &str, image: &str, pods: &[PodImage]) -> Result<(), KindError> {
    for pod in pods {
        pod.build(daemon)?;
    }
    let names: Vec<String> = pods.iter().map(|pod| pod.name.clone()).collect();
    add(daemon, node, image, &names)
}

/// Makes an image of a node's that has these of the daemon's.
fn add(daemon: &Daemon, node: &str, image: &str, pods: &[String]) -> Result<(), KindError> {
    let context = tempfile::tempdir().map_err(failed("make a directory"))?;
    let tar = context.path().join("images.tar").display().to_string();
    let names = pods.iter().map(String::as_str);
    let save: Vec<&str> = ["save", "--output", &tar]
        .into_iter()
        .chain(names)
        .collect();
    daemon.run("docker", &save)?;
    write_containerfile(context.path(), WITH_IMAGES)?;
    let node = format!("NODE={node}");
    images::build(daemon, image, context.path(), &["--build-arg", &node])
}

/// The name of the image with these in it: another one when one of them is.
pub(super) fn name_with(node: &str, pods: &[PodImage]) -> Result<String, KindError> {
    if pods.is_empty() {
        return Ok(node.to_owned());
    }
    let fingerprints: Result<Vec<String>, KindError> =
        pods.iter().map(PodImage::fingerprint).collect();
    let fingerprints = fingerprints?;
    let texts = fingerprints.iter().map(String::as_str);
    let texts: Vec<&str> = [node, WITH_IMAGES].into_iter().chain(texts).collect();
    Ok(format!("{NAME_WITH_IMAGES}:{}", key(&texts)))
}

/// The name of the image that is built: another one when anything in it is.
pub(super) fn name() -> Result<String, KindError> {
    let programs = [Programs::built()?.directory(), &programs::directory()?]
        .map(|directory| directory.display().to_string());
    let texts = [
        &images::debian_name(),
        &programs[0],
        &programs[1],
        CONTAINERFILE,
        WITH_IMAGES,
        OF_PROGRAMS,
        STORAGE,
    ];
    Ok(format!("{NAME}:{}", key(&texts)))
}

fn load(daemon: &Daemon, archive: &str) -> Result<String, KindError> {
    let said = daemon.run("docker", &["load", "--quiet", "--input", archive])?;
    let image = said
        .lines()
        .find_map(|line| line.strip_prefix("Loaded image: "));
    image
        .map(|image| image.trim().to_owned())
        .ok_or_else(|| KindError::Unintelligible {
            what: format!("the archive {archive} of {ARCHIVE_VARIABLE}"),
            message: format!("it has no image with a name: {said}"),
        })
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

/// Makes images of everything that a new cluster runs in pods, and tells their names. Those of the control plane share a layer; workers need not unpack it.
fn pod_images(daemon: &Daemon, control_plane: &Path) -> Result<Vec<String>, KindError> {
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

/// The names by which kubeadm and the container runtime ask for images.
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

/// Copies a program to where it is to be.
fn install(from: &Path, to: &Path) -> Result<(), KindError> {
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
