//! Where a running kernel tells its modules: `/proc/modules`, `/sys/module`, `/lib/modules/RELEASE`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ModuleState, ModulesError, canonical};

/// The files below one root.
#[derive(Debug)]
pub(super) struct ModuleTree {
    root: PathBuf,
}

impl ModuleTree {
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    pub(super) fn state(&self, name: &str) -> Result<ModuleState, ModulesError> {
        let name = canonical(name);
        if !is_name(&name) {
            return Ok(ModuleState::Missing);
        }
        let live = |line: &str| {
            let mut words = line.split(' ');
            words.next() == Some(name.as_str()) && words.any(|word| word == "Live")
        };
        if self.any_line("proc/modules", live)? {
            return Ok(ModuleState::Loaded);
        }
        // A module has `initstate` there, also while it is on its way in or out; a part of the image has not.
        let told = self.root.join("sys/module").join(&name);
        if told.is_dir() && !told.join("initstate").exists() {
            return Ok(ModuleState::BuiltIn);
        }
        let directory = self.directory()?;
        let of_this_name = |line: &str| file_module(line) == name;
        if self.any_line(directory.join("modules.builtin"), of_this_name)? {
            return Ok(ModuleState::BuiltIn);
        }
        if self.any_line(directory.join("modules.dep"), of_this_name)? {
            return Ok(ModuleState::Loadable);
        }
        Ok(ModuleState::Missing)
    }

    /// Where the modules of the running release are.
    pub(super) fn directory(&self) -> Result<PathBuf, ModulesError> {
        let path = self.root.join("proc/sys/kernel/osrelease");
        match fs::read_to_string(&path) {
            Ok(release) => Ok(self.root.join("lib/modules").join(release.trim())),
            Err(source) => Err(unreadable(path, source)),
        }
    }

    /// Whether the file has such a line. One that is not there has none.
    fn any_line(
        &self,
        file: impl AsRef<Path>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<bool, ModulesError> {
        let path = self.root.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().any(wanted)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(unreadable(path, source)),
        }
    }
}

fn unreadable(path: PathBuf, source: io::Error) -> ModulesError {
    ModulesError::Io {
        operation: "read",
        path,
        source,
    }
}

/// Nothing that would be a path or an option.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The module of a line such as `kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz`.
fn file_module(line: &str) -> String {
    let path = line.split(':').next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    canonical(file.split(".ko").next().unwrap_or_default())
}
