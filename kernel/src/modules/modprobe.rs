//! The door to modules by `modprobe`.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::tree::ModuleTree;
use super::{ModuleState, Modules, ModulesError};

/// [`Modules`] of the running kernel. A program is started only for a module that is not there.
#[derive(Debug)]
pub struct ModprobeModules {
    tree: ModuleTree,
    program: OsString,
}

impl Default for ModprobeModules {
    fn default() -> Self {
        Self::new()
    }
}

impl ModprobeModules {
    /// Of this node.
    pub fn new() -> Self {
        Self::with(Path::new("/"), "modprobe")
    }

    /// With `proc`, `sys` and `lib/modules` below another root, and another program in place of `modprobe`.
    pub fn with(root: &Path, program: impl Into<OsString>) -> Self {
        Self {
            tree: ModuleTree::below(root),
            program: program.into(),
        }
    }
}

impl Modules for ModprobeModules {
    fn state(&mut self, name: &str) -> Result<ModuleState, ModulesError> {
        self.tree.state(name)
    }

    fn load(&mut self, name: &str, parameters: &[(&str, &str)]) -> Result<(), ModulesError> {
        let not_found = |directory| ModulesError::NotFound {
            name: name.to_owned(),
            directory,
        };
        match self.state(name)? {
            ModuleState::BuiltIn | ModuleState::Loaded => return Ok(()),
            ModuleState::Missing => return Err(not_found(self.tree.directory()?)),
            ModuleState::Loadable => {}
        }
        let output = Command::new(&self.program)
            .args(["-q", "--", name])
            .args(
                parameters
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            )
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = name.to_owned();
                return Err(ModulesError::NoModprobe { name });
            }
            Err(source) => {
                return Err(ModulesError::Io {
                    operation: "start",
                    path: self.program.clone().into(),
                    source,
                });
            }
        };
        // A configuration may make modprobe succeed without loading.
        if output.status.success() && self.state(name)?.is_present() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        let (name, told) = (name.to_owned(), told.trim());
        if told.contains("Operation not permitted") {
            return Err(ModulesError::NotPermitted { name });
        }
        let reason = if told.is_empty() {
            format!(
                "modprobe ended without a word ({}) and it is not there: see the kernel's log and modprobe.d",
                output.status
            )
        } else {
            told.to_owned()
        };
        Err(ModulesError::Refused { name, reason })
    }
}
