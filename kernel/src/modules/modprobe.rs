//! The door to modules by `modprobe`.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::tree::ModuleTree;
use super::{ModuleState, Modules, ModulesError};
use crate::process::{Ended, RunError, run};

/// Who waits for a module serves nothing meanwhile.
const TIMEOUT: Duration = Duration::from_secs(10);

/// [`Modules`] of the running kernel. A program is started only for a module that is not there.
#[derive(Debug)]
pub struct ModprobeModules {
    tree: ModuleTree,
    program: OsString,
    timeout: Duration,
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
            timeout: TIMEOUT,
        }
    }

    /// How long the program may take (10 s).
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn run(&self, name: &str, parameters: &[(&str, &str)]) -> Result<Ended, ModulesError> {
        let parameters = parameters
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let mut command = Command::new(&self.program);
        command
            .args(["-q", "--", name])
            .args(parameters)
            .env("LC_ALL", "C");
        let name = name.to_owned();
        run(&mut command, b"", self.timeout, &mut |_| {}).map_err(|error| match error {
            RunError::TimedOut => ModulesError::TimedOut {
                name,
                seconds: self.timeout.as_secs(),
            },
            RunError::Io(_, error) if error.kind() == io::ErrorKind::NotFound => {
                ModulesError::NoModprobe { name }
            }
            RunError::Io(operation, source) => ModulesError::Io {
                operation,
                path: self.program.clone().into(),
                source,
            },
        })
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
        let ended = self.run(name, parameters)?;
        // A configuration may make modprobe succeed without loading.
        if ended.status.success() && self.state(name)?.is_present() {
            return Ok(());
        }
        let (name, told) = (name.to_owned(), ended.stderr.trim());
        if told.contains("Operation not permitted") {
            return Err(ModulesError::NotPermitted { name });
        }
        let reason = if told.is_empty() {
            format!(
                "modprobe ended without a word ({}) and it is not there: see the kernel's log and modprobe.d",
                ended.status
            )
        } else {
            told.to_owned()
        };
        Err(ModulesError::Refused { name, reason })
    }
}
