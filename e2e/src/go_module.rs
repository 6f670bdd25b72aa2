//! A Go module of this library, and the programs that are built of it once and kept.
//!
//! Its files are part of this library, so that what was built always belongs to what asks for it: the directory in the cache is named after
//! their text.

use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use siphasher::sip::SipHasher13;

use crate::cache;

/// Why programs could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoError {
    /// Files or processes.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// There is no Go, or one that is too old and may not fetch a newer one.
    #[error("{message}")]
    NoGo {
        /// What was found instead.
        message: String,
    },
    /// The build failed.
    #[error("`{command}` failed: {message}")]
    Build {
        /// Program and arguments.
        command: String,
        /// What it said.
        message: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> GoError {
    move |source| GoError::Io {
        what: what.into(),
        source,
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoModule {
    /// Each file's path in the module and its text.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

impl GoModule {
    /// The directory below `cache` for what is built of these files with these flags.
    pub(crate) fn kept(
        &self,
        cache: &Path,
        version: &str,
        flags: &str,
    ) -> Result<PathBuf, GoError> {
        let mut hasher = SipHasher13::new();
        let texts = self.files.iter().map(|(_, text)| *text);
        for text in texts.chain([flags]) {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        let cache = std::path::absolute(cache).map_err(failed("find the cache directory"))?;
        Ok(cache.join(format!("{version}-{:016x}", hasher.finish())))
    }

    /// Where a file of this name is not in the directory, has it made below `built` in a copy of the module, and moves all that is there to
    /// the others.
    pub(crate) fn build_missing(
        &self,
        directory: &Path,
        name: &str,
        build: impl FnOnce(&Path) -> Result<(), GoError>,
    ) -> Result<(), GoError> {
        let there = || directory.join(name).is_file();
        if there() {
            return Ok(());
        }
        let _lock =
            cache::lock(directory).map_err(failed(format!("lock {}", directory.display())))?;
        // Another process may have made it while this one waited.
        if there() {
            return Ok(());
        }
        let module = tempfile::tempdir_in(directory).map_err(failed("make a directory"))?;
        self.write(module.path())
            .map_err(failed("write the Go module"))?;
        build(module.path())?;
        move_all(&module.path().join("built"), directory, name)
            .map_err(failed(format!("keep {name}")))
    }

    /// The directory with the source of a module that this one requires; downloaded where that is necessary.
    pub(crate) fn source_of(&self, required: &str) -> Result<PathBuf, GoError> {
        let module = tempfile::tempdir().map_err(failed("make a directory"))?;
        self.write(module.path())
            .map_err(failed("write the Go module"))?;
        can_build(module.path())?;
        let go = Go { c: false };
        go.run(module.path(), &["mod", "download", required])?;
        let directory = go.run(module.path(), &["list", "-m", "-f", "{{.Dir}}", required])?;
        Ok(PathBuf::from(directory.trim()))
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir(directory.join("built"))?;
        for (file, text) in self.files {
            let path = directory.join(file);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }
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

/// Builds packages in a copy of a module, without C. `what` is for people; the last arguments are the packages.
pub(crate) fn build(module: &Path, what: &str, arguments: &[&str]) -> Result<(), GoError> {
    compile(module, what, arguments, Go { c: false })
}

/// The same for packages with C in them, and so with libraries of this machine.
pub(crate) fn build_with_c(module: &Path, what: &str, arguments: &[&str]) -> Result<(), GoError> {
    compile(module, what, arguments, Go { c: true })
}

fn compile(module: &Path, what: &str, arguments: &[&str], go: Go) -> Result<(), GoError> {
    can_build(module)?;
    eprintln!("building {what}: minutes, once");
    let started = Instant::now();
    let all = [&["build", "-buildvcs=false", "-trimpath"], arguments].concat();
    go.run(module, &all)?;
    eprintln!("built {what} in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// An error where there is no Go, or one that is too old and may not fetch a newer one.
fn can_build(module: &Path) -> Result<(), GoError> {
    let no_go = |message| GoError::NoGo { message };
    // Reads the module, and with that the version it wants, and needs no network.
    let listed = Go { c: false }
        .output(module, &["list", "-m"])
        .map_err(|error| no_go(format!("go: {error}")))?;
    if listed.status.success() {
        Ok(())
    } else {
        Err(no_go(said(&listed)))
    }
}

#[derive(Debug, Clone, Copy)]
struct Go {
    c: bool,
}

impl Go {
    /// What it prints.
    fn run(self, module: &Path, arguments: &[&str]) -> Result<String, GoError> {
        let mut output = self.output(module, arguments).map_err(failed("run go"))?;
        if !output.status.success() {
            // A download may fail for a moment; what there is by then is kept.
            output = self.output(module, arguments).map_err(failed("run go"))?;
        }
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let ends = [arguments.first(), arguments.last()];
        let ends: Vec<&str> = ends.into_iter().flatten().copied().collect();
        Err(GoError::Build {
            command: format!("go {}", ends.join(" ")),
            message: said(&output),
        })
    }

    fn output(self, module: &Path, arguments: &[&str]) -> io::Result<Output> {
        Command::new("go")
            .args(arguments)
            .current_dir(module)
            .env("CGO_ENABLED", if self.c { "1" } else { "0" })
            .env("GOWORK", "off")
            .output()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const MODULE: GoModule = GoModule {
        files: &[("go.mod", "module x"), ("main/main.go", "package main")],
    };

    #[test]
    fn what_is_missing_is_built_once_however_many_ask_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache");
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let made = MODULE.build_missing(&cache, "program", |module| {
                        builds.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(50));
                        assert!(module.join("main/main.go").is_file());
                        std::fs::write(module.join("built/program"), "").unwrap();
                        std::fs::write(module.join("built/beside"), "").unwrap();
                        Ok(())
                    });
                    made.unwrap();
                    assert!(cache.join("program").is_file());
                    assert!(cache.join("beside").is_file());
                });
            }
        });
        assert_eq!(builds.into_inner(), 1);
        // Nothing is left of the build.
        assert_eq!(cache.read_dir().unwrap().count(), 3);
    }

    #[test]
    fn another_text_or_flag_is_another_directory() {
        let kept = |flags| MODULE.kept(Path::new("/cache"), "v1", flags).unwrap();
        assert_eq!(kept("-s"), kept("-s"));
        assert_ne!(kept("-s"), kept("-w"));
        assert!(kept("").starts_with("/cache"));
    }
}
