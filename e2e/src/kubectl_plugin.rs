//! `kubectl sluice` as people call it, with no more of the machine than they say.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A plugin that asks one API server.
#[derive(Debug, Clone)]
pub struct KubectlPlugin {
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// What it says, and how it ends.
#[derive(Debug, Clone)]
pub struct Said {
    /// The exit code; absent where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl KubectlPlugin {
    /// With the rights of a kubeconfig.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Said> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .output()?;
        Ok(Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it with `-o json`, and reads what it prints.
    pub fn json(&self, arguments: &[&str]) -> io::Result<(Value, Said)> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let said = self.run(&arguments)?;
        let read = serde_json::from_str(&said.stdout);
        let value = read.map_err(|error| {
            io::Error::other(format!("{error}: {} {}", said.stdout, said.stderr))
        })?;
        Ok((value, said))
    }
}
