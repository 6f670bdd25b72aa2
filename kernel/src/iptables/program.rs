//! Finds the iptables programs of a variant.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Family, IptablesError, Variant};
use crate::process::run;

/// A version is told at once, or something is wrong.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// What a program does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Restore,
    Save,
}

/// A program and how it is called.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    /// First argument of a multi-call binary.
    applet: Option<String>,
    name: String,
}

impl Program {
    /// For messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.applet).env("LC_ALL", "C");
        command
    }

    /// The program of `variant`: by its own name, else as an applet of the multi-call binary, else by the plain name if
    /// that says it is of this variant.
    pub(super) fn find(
        directories: &[PathBuf],
        variant: Variant,
        family: Family,
        action: Action,
    ) -> Result<Self, IptablesError> {
        let base = base_name(family);
        let action = match action {
            Action::Restore => "restore",
            Action::Save => "save",
        };
        let own = format!("{base}-{variant}-{action}");
        let plain = format!("{base}-{action}");
        if let Some(path) = executable(directories, &own) {
            return Ok(Self {
                path,
                applet: None,
                name: own,
            });
        }
        let multi = format!("xtables-{variant}-multi");
        if let Some(path) = executable(directories, &multi) {
            return Ok(Self {
                path,
                name: format!("{multi} {plain}"),
                applet: Some(plain),
            });
        }
        match executable(directories, &plain) {
            Some(path) if version_of(&path) == Some(variant) => Ok(Self {
                path,
                applet: None,
                name: plain,
            }),
            _ => Err(IptablesError::NotInstalled { program: own }),
        }
    }
}

/// The variant of the plain `iptables`, if it is installed.
pub(super) fn plain_variant(directories: &[PathBuf]) -> Option<Variant> {
    version_of(&executable(directories, base_name(Family::V4))?)
}

/// Where programs are looked for: `PATH`, and the places of administrators' programs, which a service's `PATH` may lack.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .filter(|p| p.is_absolute())
        .chain(system)
        .collect()
}

fn base_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

fn executable(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories
        .iter()
        .map(|d| d.join(name))
        .find(|p| is_executable(p))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn version_of(path: &Path) -> Option<Variant> {
    let mut output = Vec::new();
    run(
        Command::new(path).arg("--version"),
        b"",
        VERSION_TIMEOUT,
        &mut |piece| output.extend_from_slice(piece),
    )
    .ok()?;
    variant_in(&String::from_utf8_lossy(&output))
}

/// `iptables v1.8.9 (nf_tables)`; before 1.8 there was one variant and it was not named.
fn variant_in(version: &str) -> Option<Variant> {
    if version.contains("nf_tables") {
        Some(Variant::Nft)
    } else if version.contains("tables") && version.contains(" v1.") {
        Some(Variant::Legacy)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(directory: &Path, name: &str, script: &str) {
        // By another process: what this one has open for writing a child of another test may have too, and then it is not executed.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh")
            .args(["-c", write])
            .arg(directory.join(name))
            .arg(script)
            .status();
        assert!(written.unwrap().success());
    }

    fn name_found(directory: &Path, variant: Variant) -> Result<String, String> {
        Program::find(
            &[directory.to_path_buf()],
            variant,
            Family::V6,
            Action::Save,
        )
        .map(|p| p.name)
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_program_is_found_by_own_name_then_applet_then_plain_name() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert!(
            name_found(directory, Variant::Nft)
                .unwrap_err()
                .contains("ip6tables-nft-save is not installed")
        );
        install(
            directory,
            "ip6tables-save",
            "echo 'ip6tables-save v1.8.9 (nf_tables)'",
        );
        assert_eq!(
            name_found(directory, Variant::Nft).unwrap(),
            "ip6tables-save"
        );
        assert!(name_found(directory, Variant::Legacy).is_err());
        install(directory, "xtables-nft-multi", "");
        assert_eq!(
            name_found(directory, Variant::Nft).unwrap(),
            "xtables-nft-multi ip6tables-save"
        );
        install(directory, "ip6tables-nft-save", "");
        assert_eq!(
            name_found(directory, Variant::Nft).unwrap(),
            "ip6tables-nft-save"
        );
    }

    #[test]
    fn versions_tell_the_variant() {
        assert_eq!(
            variant_in("iptables v1.8.9 (nf_tables)"),
            Some(Variant::Nft)
        );
        assert_eq!(
            variant_in("iptables v1.8.9 (legacy)"),
            Some(Variant::Legacy)
        );
        assert_eq!(variant_in("iptables v1.6.1"), Some(Variant::Legacy));
        assert_eq!(variant_in("busybox"), None);
    }
}
