//! Packages that are found and downloaded by apt, and unpacked in a directory of our own: never installed.

use std::io;
use std::path::Path;
use std::process::Command;

/// Why a package could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebianPackageError {
    /// Files.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A program could not be started or failed.
    #[error("{program} failed; is its package installed (e2e/setup/packages)? {message}")]
    Program {
        /// Program and arguments.
        program: String,
        /// What it said.
        message: String,
    },
}

/// A package file, as `apt-get download --print-uris` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DebianPackage {
    /// Where it is downloaded.
    pub(crate) url: String,
    /// `NAME_VERSION_ARCHITECTURE.deb`
    pub(crate) file: String,
    /// `SHA256:...`
    pub(crate) hash: String,
}

impl DebianPackage {
    /// The files of the newest package of this name that apt knows.
    pub(crate) fn find(name: &str) -> Result<Vec<Self>, DebianPackageError> {
        let uris = output(Command::new("apt-get").args(["download", "--print-uris", name]))?;
        Ok(uris.lines().filter_map(parse_uri).collect())
    }

    /// Unpacks the package below a directory; the file itself is gone afterwards.
    pub(crate) fn unpack(&self, into: &Path) -> Result<(), DebianPackageError> {
        let file = into.join(&self.file);
        output(
            Command::new("/usr/lib/apt/apt-helper")
                .args(["-oAPT::Sandbox::User=root", "download-file", &self.url])
                .arg(&file)
                .arg(&self.hash),
        )?;
        output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))?;
        std::fs::remove_file(&file).map_err(|source| DebianPackageError::Io {
            what: format!("remove {}", file.display()),
            source,
        })
    }
}

/// Does it, and once more with new lists of packages where it fails: this machine's may be gone, or name what is served no longer. Whoever may not
/// have them renewed is told the first error.
pub(crate) fn with_new_lists<T, E>(step: impl Fn() -> Result<T, E>) -> Result<T, E> {
    step().or_else(|error| {
        let update = ["-o", "Acquire::Retries=5", "update"];
        match output(Command::new("apt-get").args(update)) {
            Ok(_) => step(),
            Err(_) => Err(error),
        }
    })
}

/// What a program prints; an error with what it says where it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, DebianPackageError> {
    let result = command.env("LC_ALL", "C").output();
    let failed = |message| DebianPackageError::Program {
        program: format!("{command:?}"),
        message,
    };
    match result {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// `'URL' FILE SIZE HASH`
fn parse_uri(line: &str) -> Option<DebianPackage> {
    let mut words = line.split_whitespace();
    let url = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?;
    let file = words.next()?;
    let hash = words.nth(1)?;
    Some(DebianPackage {
        url: url.to_owned(),
        file: file.to_owned(),
        hash: hash.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_apt_prints_is_understood() {
        let line =
            "'http://deb.debian.org/a/l_6.1-1_amd64.deb' l_6.1-1_amd64.deb 70305560 SHA256:7b55";
        let package = parse_uri(line).unwrap();
        assert_eq!(package.file, "l_6.1-1_amd64.deb");
        assert_eq!(package.hash, "SHA256:7b55");
        assert_eq!(parse_uri("E: Unable to locate package x"), None);
    }
}
