//! The images that pods of the suites run. Nodes have them from the start: what is loaded into a running cluster keeps its API server waiting.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::Daemon;
use super::error::{KindError, failed};
use super::images::{build, debian, write_containerfile};
use super::workload;

/// The components of Sluice, each with a Containerfile below `images`.
const COMPONENTS: [&str; 3] = ["agent", "operator", "cni"];

/// An image, and what it is made of.
#[derive(Debug, Clone)]
pub struct PodImage {
    pub(super) name: String,
    recipe: Recipe,
}

#[derive(Debug, Clone)]
enum Recipe {
    /// A program and the libraries that it loads, and nothing else; it is the entry point.
    Program(PathBuf),
    /// As users make it.
    Containerfile {
        file: PathBuf,
        context: PathBuf,
        takes_base: bool,
    },
}

impl PodImage {
    /// Those of the kind suite: its pods', whose program this is, and Sluice's.
    pub fn of_suite(program: &Path) -> Result<Vec<Self>, KindError> {
        let pods = Self {
            name: workload::IMAGE.to_owned(),
            recipe: Recipe::Program(program.to_owned()),
        };
        let version = app_version()?;
        let sluice = COMPONENTS.map(|component| Self::of_component(component, &version));
        [pods].into_iter().map(Ok).chain(sluice).collect()
    }

    fn of_component(component: &str, version: &str) -> Result<Self, KindError> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| project().join("target"), PathBuf::from);
        let context = target.join("images").join(component);
        let program = context.join(format!("sluice-{component}"));
        if !program.is_file() {
            return Err(KindError::Missing {
                path: program,
                advice: "run `make image-programs`",
            });
        }
        let file = project()
            .join("images")
            .join(component)
            .join("Containerfile");
        Ok(Self {
            name: format!("sluice/{component}:{version}"),
            recipe: Recipe::Containerfile {
                file,
                context,
                takes_base: component == "agent",
            },
        })
    }

    /// Other words when what it is made of changes.
    pub(super) fn fingerprint(&self) -> Result<String, KindError> {
        let inputs = match &self.recipe {
            Recipe::Program(program) => vec![program.clone()],
            Recipe::Containerfile { file, context, .. } => {
                let cannot = || failed(format!("list {}", context.display()));
                let entries = std::fs::read_dir(context).map_err(cannot())?;
                let mut inputs: Vec<PathBuf> =
                    entries.flatten().map(|entry| entry.path()).collect();
                inputs.push(file.clone());
                inputs.sort();
                inputs
            }
        };
        let state = |input: PathBuf| {
            let state = std::fs::metadata(&input);
            let state = state.and_then(|state| Ok((state.len(), state.modified()?)));
            let (size, time) = state.map_err(failed(format!("look at {}", input.display())))?;
            Ok(format!("{} {size} {time:?}", input.display()))
        };
        let name = Ok(self.name.clone());
        let words: Result<Vec<String>, KindError> = [name]
            .into_iter()
            .chain(inputs.into_iter().map(state))
            .collect();
        Ok(words?.join(" "))
    }

    pub(super) fn build(&self, daemon: &Daemon) -> Result<(), KindError> {
        match &self.recipe {
            Recipe::Program(program) => build_of_program(daemon, &self.name, program),
            Recipe::Containerfile {
                file,
                context,
                takes_base,
            } => {
                let file = file.display().to_string();
                let mut more = vec!["--file", &file];
                let base;
                if *takes_base {
                    base = format!("BASE={}", debian(daemon)?);
                    more.extend(["--build-arg", &base]);
                }
                build(daemon, &self.name, context, &more)
            }
        }
    }
}

/// The work tree.
fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The version by which the chart asks for images.
fn app_version() -> Result<String, KindError> {
    let file = project().join("charts/sluice/Chart.yaml");
    let text =
        std::fs::read_to_string(&file).map_err(failed(format!("read {}", file.display())))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("appVersion:"));
    let version = version.map(|version| version.trim().trim_matches('"').to_owned());
    version.ok_or_else(|| KindError::Unintelligible {
        what: file.display().to_string(),
        message: "it has no appVersion".to_owned(),
    })
}

fn build_of_program(daemon: &Daemon, image: &str, program: &Path) -> Result<(), KindError> {
    let context = tempfile::tempdir().map_err(failed("make a directory"))?;
    let root = context.path().join("root");
    let copy = |from: &str, to: &Path| {
        let directory = to.parent().unwrap_or(to);
        std::fs::create_dir_all(directory)?;
        std::fs::copy(from, to).map(drop)
    };
    let listed = said_by(Command::new("ldd").arg(program))?;
    for library in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        copy(library, &root.join(library.trim_start_matches('/')))
            .map_err(failed(format!("copy {library}")))?;
    }
    // Debug information is most of it, and every node has a copy.
    let stripped = root.join("program");
    said_by(Command::new("strip").arg("-o").args([&stripped, program]))?;
    write_containerfile(
        context.path(),
        "FROM scratch\nCOPY root/ /\nENTRYPOINT [\"/program\"]\n",
    )?;
    build(daemon, image, context.path(), &[])
}

fn said_by(command: &mut Command) -> Result<String, KindError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(failed(format!("run {name}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(KindError::Program {
        command: name,
        message: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
