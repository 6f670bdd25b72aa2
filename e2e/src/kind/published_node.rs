//! The image of nodes that kind publishes, and others like it, from a registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::daemon::{Daemon, end_of};
use super::error::{KindError, failed};
use super::node_image::remove_earlier;
use super::{images, key, programs};
use crate::cache;
use crate::go_module::{self, GoModule};

const MODULE: GoModule = GoModule {
    files: &[
        ("go.mod", include_str!("../../registry-client/go.mod")),
        ("go.sum", include_str!("../../registry-client/go.sum")),
    ],
};
const CRANE: &str = "github.com/google/go-containerregistry/cmd/crane";

const NAME: &str = "sluice-kind/published-node";
/// Where kind's source says which image belongs to its version.
const DEFAULTS: &str = "pkg/apis/config/defaults/image.go";
/// A registry that takes longer to say what it has counts as one that is not reachable; seconds.
const PATIENCE: &str = "20";

/// An image of a registry.
#[derive(Debug)]
pub(super) struct Published {
    reference: String,
}

impl Published {
    pub(super) fn at(reference: String) -> Self {
        Self { reference }
    }

    /// The one that this version of kind makes nodes of.
    pub(super) fn of_kind() -> Result<Self, KindError> {
        let file = programs::kind_source()?.join(DEFAULTS);
        let text =
            std::fs::read_to_string(&file).map_err(failed(format!("read {}", file.display())))?;
        let image = text
            .lines()
            .find_map(|line| line.strip_prefix("const Image = "));
        let image = image.map(|image| image.trim_matches('"').to_owned());
        image
            .map(Self::at)
            .ok_or_else(|| KindError::Unintelligible {
                what: file.display().to_string(),
                message: "it has no constant Image".to_owned(),
            })
    }

    /// Its name at the daemon.
    fn name(&self) -> String {
        format!("{NAME}:{}", key(&[&self.reference]))
    }

    /// Whether it was fetched before.
    pub(super) fn is_kept(&self, daemon: &Daemon) -> bool {
        images::has(daemon, &self.name())
    }

    /// Fetches it where the daemon does not have it, and tells its name there; or why the registry does not give it.
    pub(super) fn get(&self, daemon: &Daemon) -> Result<Result<String, String>, KindError> {
        let name = self.name();
        if self.is_kept(daemon) {
            return Ok(Ok(name));
        }
        let directory = tempfile::tempdir().map_err(failed("make a directory"))?;
        let archive = directory.path().join("node.tar");
        if let Err(message) = self.fetch(&archive)? {
            return Ok(Err(message));
        }
        remove_earlier(daemon, NAME)?;
        let loaded = load(daemon, &archive)?;
        daemon.run("docker", &["tag", &loaded, &name])?;
        daemon.run("docker", &["image", "rm", &loaded])?;
        Ok(Ok(name))
    }

    /// The daemon has no way out, so it is this process that fetches. `Err` is what the registry, or the way to it, says.
    fn fetch(&self, archive: &Path) -> Result<Result<(), String>, KindError> {
        let crane = crane()?;
        let run = |patience: &str, arguments: &[&str]| {
            Command::new("timeout")
                .arg(patience)
                .arg(&crane)
                .args(arguments)
                .args(["--platform", &format!("linux/{}", architecture())])
                .output()
                .map_err(failed("run crane"))
        };
        let asked = run(PATIENCE, &["digest", &self.reference])?;
        if !asked.status.success() {
            return Ok(Err(self.refusal(&asked)));
        }
        eprintln!("fetching the image of nodes, {}", self.reference);
        let to = archive.display().to_string();
        // No limit: it is there, and large.
        let pulled = run("0", &["pull", &self.reference, &to])?;
        if !pulled.status.success() {
            return Ok(Err(self.refusal(&pulled)));
        }
        Ok(Ok(()))
    }

    fn refusal(&self, output: &Output) -> String {
        let said = end_of(&String::from_utf8_lossy(&output.stderr));
        let said = if said.is_empty() {
            format!("no answer in {PATIENCE} s")
        } else {
            said
        };
        format!("{}: {said}", self.reference)
    }
}

/// The registries' client; built now where that is necessary.
fn crane() -> Result<PathBuf, KindError> {
    let cache = cache::directory("registry-client").ok_or(KindError::NoCache)?;
    let directory = MODULE.kept(&cache, "go", "")?;
    MODULE.build_missing(&directory, "crane", |module| {
        let arguments = ["-ldflags", "-s -w", "-o", "built/crane", CRANE];
        go_module::build(module, "crane", &arguments)
    })?;
    Ok(directory.join("crane"))
}

/// Gives the daemon an archive, as `docker save` writes it, and tells the image's name.
pub(super) fn load(daemon: &Daemon, archive: &Path) -> Result<String, KindError> {
    let archive = archive.display().to_string();
    let said = daemon.run("docker", &["load", "--quiet", "--input", &archive])?;
    let image = said
        .lines()
        .find_map(|line| line.strip_prefix("Loaded image: "));
    image
        .map(|image| image.trim().to_owned())
        .ok_or_else(|| KindError::Unintelligible {
            what: format!("the archive {archive}"),
            message: format!("it has no image with a name: {said}"),
        })
}

/// This machine's, as registries name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::server_process::Server;

    /// A registry on loopback, with one image.
    struct Registry {
        _server: Server,
        image: String,
    }

    fn said_by(program: PathBuf, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn registry(directory: &Path) -> Registry {
        let crane = crane().unwrap();
        let log = directory.join("registry.log");
        let serve = ["registry", "serve", "--address", "127.0.0.1:0"].map(ToOwned::to_owned);
        let server = Server::start(&crane, &serve, &log).unwrap();
        let started = Instant::now();
        let port = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let port = text.split("serving on port ").nth(1);
            match port.and_then(|rest| rest.lines().next()?.trim().parse::<u16>().ok()) {
                Some(port) => break port,
                None if started.elapsed() > Duration::from_secs(20) => panic!("{text}"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let layer = directory.join("layer.tar").display().to_string();
        std::fs::write(directory.join("version"), "v1").unwrap();
        let tar = [
            "-C",
            &directory.display().to_string(),
            "-cf",
            &layer,
            "version",
        ];
        said_by(PathBuf::from("tar"), &tar);
        let image = format!("127.0.0.1:{port}/node");
        let push = [
            "append",
            "--new_layer",
            &layer,
            "--new_tag",
            &format!("{image}:v1"),
        ];
        let pushed = said_by(crane, &push);
        let (_, digest) = pushed.split_once('@').unwrap();
        Registry {
            _server: server,
            image: format!("{image}:v1@{digest}"),
        }
    }

    #[test]
    fn an_image_of_a_registry_becomes_an_archive_for_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(directory.path());
        let archive = directory.path().join("node.tar");
        let published = Published::at(registry.image.clone());
        published.fetch(&archive).unwrap().unwrap();
        let archive = archive.display().to_string();
        let manifest = said_by(PathBuf::from("tar"), &["-xOf", &archive, "manifest.json"]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let tags = &manifest[0]["RepoTags"];
        assert!(tags[0].as_str().unwrap().contains("/node:"), "{manifest}");

        let other = Published::at(registry.image.replace("/node", "/other"));
        let refusal = other.fetch(Path::new(&archive)).unwrap().unwrap_err();
        assert!(refusal.contains(&other.reference), "{refusal}");
    }

    #[test]
    fn a_registry_that_is_not_reachable_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let reference = registry(directory.path()).image;
        let published = Published::at(reference.clone());
        let archive = directory.path().join("node.tar");
        let refusal = published.fetch(&archive).unwrap().unwrap_err();
        assert!(refusal.starts_with(&reference), "{refusal}");
        assert!(!archive.exists());
    }

    #[test]
    fn kinds_source_names_its_image_with_its_digest() {
        let reference = Published::of_kind().unwrap().reference;
        assert!(reference.contains("/node:v"), "{reference}");
        assert!(reference.contains("@sha256:"), "{reference}");
    }
}
