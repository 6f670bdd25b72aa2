//! The image of which all is run: FROM scratch, so that no registry is asked.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::error::{RuntimeError, failed};
use crate::debian_package::output;

/// Its name.
pub(super) const NAME: &str = "sluice.test/pause:1";

/// Writes an image of one static program, as an archive that containerd imports.
pub(super) fn write(program: &Path, archive: &Path) -> Result<(), RuntimeError> {
    let work = tempfile::tempdir().map_err(failed("make a directory for an image"))?;
    let directory = work.path();
    std::fs::copy(program, directory.join("pause")).map_err(failed("copy pause"))?;
    tar(directory, &directory.join("layer.tar"), &["pause"])?;
    let sum = output(Command::new("sha256sum").arg(directory.join("layer.tar")))?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    let files: [(&str, &Value); 2] = [("config.json", &config), ("manifest.json", &manifest)];
    for (name, value) in files {
        std::fs::write(directory.join(name), value.to_string())
            .map_err(failed(format!("write {name}")))?;
    }
    let all = ["manifest.json", "config.json", "layer.tar"];
    tar(directory, archive, &all)
}

fn tar(directory: &Path, archive: &Path, names: &[&str]) -> Result<(), RuntimeError> {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-C"])
        .arg(directory)
        .arg("-cf")
        .arg(archive)
        .args(names);
    output(&mut tar)?;
    Ok(())
}
