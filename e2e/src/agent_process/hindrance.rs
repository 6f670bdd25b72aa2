//! Wrappers around an agent and around the programs that it runs, for tests of faults.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{AgentProcess, AgentProcessError};

impl AgentProcess {
    /// Puts a shell script in the place of a program that the agent runs, from the next start on.
    pub fn replace_program(&mut self, name: &str, script: &str) -> Result<(), AgentProcessError> {
        let bin = self.path("bin");
        std::fs::create_dir_all(&bin)
            .and_then(|()| write_script(&bin.join(name), script))
            .map_err(AgentProcessError::io(format!("replace {name}")))?;
        let path = std::env::var("PATH").unwrap_or_default();
        self.set_environment("PATH", &format!("{}:{path}", bin.display()));
        Ok(())
    }

    /// Starts it by a shell script from the next start on.
    pub fn wrap(&mut self, script: &str) -> Result<(), AgentProcessError> {
        self.program = self.path("wrapper");
        write_script(&self.program, script).map_err(AgentProcessError::io("wrap the agent"))
    }
}

fn write_script(file: &Path, script: &str) -> io::Result<()> {
    std::fs::write(file, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
}
