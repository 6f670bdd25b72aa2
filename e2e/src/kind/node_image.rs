//! The image of kind's nodes: the one that kind publishes where a registry is reachable, else one that is built here. To either come the
//! images of the suites' pods.

use std::path::{Path, PathBuf};

use super::daemon::Daemon;
use super::error::{KindError, failed};
use super::images::write_containerfile;
use super::pod_images::PodImage;
use super::published_node::{self, Published};
use super::{built_node, images, key};

pub(super) const WITH_IMAGES: &str = include_str!("node-with-images.Containerfile");
const NAME_WITH_IMAGES: &str = "sluice-kind/node-with-images";

/// Says where the image is to come from.
const VARIABLE: &str = "SLUICE_KIND_NODE_IMAGE";
/// Its value for an image that is built here, whatever is reachable.
const BUILD: &str = "build";

/// Where it comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// From a registry, or built where none is reachable.
    Either,
    Built,
    /// An archive, as `docker save` writes it.
    Archive(PathBuf),
    /// A registry that must be reachable.
    Registry(String),
}

impl Source {
    fn of(value: Option<&str>) -> Self {
        match value {
            None | Some("") => Self::Either,
            Some(BUILD) => Self::Built,
            Some(value) if Path::new(value).is_file() => Self::Archive(PathBuf::from(value)),
            Some(value) => Self::Registry(value.to_owned()),
        }
    }
}

/// Gets the image of a node that has these images for pods, where the daemon does not have it, and tells its name.
pub(super) fn get(daemon: &Daemon, pods: &[PodImage]) -> Result<String, KindError> {
    let value = std::env::var(VARIABLE).ok();
    let node = match Source::of(value.as_deref()) {
        Source::Either => either(daemon)?,
        Source::Built => built_node::get(daemon)?,
        Source::Archive(archive) => published_node::load(daemon, &archive)?,
        Source::Registry(reference) => {
            let published = Published::at(reference);
            published.get(daemon)?.map_err(|message| {
                let advice =
                    format!("{VARIABLE} names a file, an image of a registry, or `{BUILD}`");
                KindError::NoRegistry { message, advice }
            })?
        }
    };
    with(daemon, &node, pods)
}

/// As [`get`], but never a published one.
pub(super) fn get_built(daemon: &Daemon, pods: &[PodImage]) -> Result<String, KindError> {
    with(daemon, &built_node::get(daemon)?, pods)
}

/// The name of what [`get_built`] makes.
pub(super) fn built_name(pods: &[PodImage]) -> Result<String, KindError> {
    name_with(&built_node::name()?, pods)
}

/// What is there is used; so only a machine without either asks the registry.
fn either(daemon: &Daemon) -> Result<String, KindError> {
    let published = Published::of_kind()?;
    let built = built_node::name()?;
    if !published.is_kept(daemon) && images::has(daemon, &built) {
        return Ok(built);
    }
    match published.get(daemon)? {
        Ok(image) => Ok(image),
        Err(message) => {
            eprintln!("no published node image, so one is built here: {message}");
            built_node::get(daemon)
        }
    }
}

fn with(daemon: &Daemon, node: &str, pods: &[PodImage]) -> Result<String, KindError> {
    let image = name_with(node, pods)?;
    if image != node && !images::has(daemon, &image) {
        remove_all(daemon, NAME_WITH_IMAGES)?;
        for pod in pods {
            pod.build(daemon)?;
        }
        let names: Vec<String> = pods.iter().map(|pod| pod.name.clone()).collect();
        add(daemon, node, &image, &names)?;
    }
    Ok(image)
}

/// The name of the image with these in it: another one when one of them is.
fn name_with(node: &str, pods: &[PodImage]) -> Result<String, KindError> {
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

/// Makes an image of a node's that has these of the daemon's.
pub(super) fn add(
    daemon: &Daemon,
    node: &str,
    image: &str,
    pods: &[String],
) -> Result<(), KindError> {
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
    let debian = format!("DEBIAN={}", images::debian(daemon)?);
    let bases = ["--build-arg", &node, "--build-arg", &debian];
    images::build(daemon, image, context.path(), &bases)?;
    // Those of an earlier text of this library, and the stages of this one.
    daemon
        .run("docker", &["image", "prune", "--force"])
        .map(drop)
}

/// Every build of what is in an image makes another one of that name. Those that are made of it go first.
pub(super) fn remove_earlier(daemon: &Daemon, name: &str) -> Result<(), KindError> {
    remove_all(daemon, NAME_WITH_IMAGES)?;
    remove_all(daemon, name)
}

fn remove_all(daemon: &Daemon, name: &str) -> Result<(), KindError> {
    let all = daemon.run("docker", &["image", "ls", "--quiet", name])?;
    for id in all.lines() {
        daemon.run("docker", &["image", "rm", "--force", id])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_file_a_registrys_image_or_a_build() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let archive = file.path().to_str().unwrap();
        assert_eq!(Source::of(None), Source::Either);
        assert_eq!(Source::of(Some("")), Source::Either);
        assert_eq!(Source::of(Some("build")), Source::Built);
        assert_eq!(Source::of(Some(archive)), Source::Archive(archive.into()));
        let mirror = "mirror.example/node:v1";
        assert_eq!(Source::of(Some(mirror)), Source::Registry(mirror.into()));
    }
}
