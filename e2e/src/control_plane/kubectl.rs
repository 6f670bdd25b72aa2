//! `kubectl`, with somebody's rights.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::api::Api;
use super::error::{ControlPlaneError, failed};
use crate::lab::pace::stretched;

/// For what an API server knows a moment after it was told.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Runs `kubectl` against one control plane. It knows nothing of the user who runs the tests: no `~/.kube`, no `KUBECONFIG`.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// How a `kubectl` ended, and what it said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Kubectl {
    pub(super) fn new(program: PathBuf, kubeconfig: &Path, home: &Path) -> Self {
        Self {
            program,
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        }
    }

    /// The same with another kubeconfig's rights.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self::new(self.program.clone(), kubeconfig, &self.home)
    }

    /// Runs as a proxy on the socket.
    pub(super) fn proxy(&self, socket: PathBuf, log: &Path) -> Result<Api, ControlPlaneError> {
        let variable = |(name, value): (&str, &OsStr)| format!("{name}={}", value.display());
        let environment: Vec<String> = self.environment().into_iter().map(variable).collect();
        Api::start(&self.program, &environment, socket, log)
    }

    fn environment(&self) -> [(&'static str, &OsStr); 3] {
        [
            ("KUBECONFIG", self.kubeconfig.as_os_str()),
            ("HOME", self.home.as_os_str()),
            ("KUBERC", OsStr::new("off")),
        ]
    }

    /// Runs it with `input` on its standard input, and tells how that went, whichever way.
    pub fn answer(&self, arguments: &[&str], input: &str) -> Result<Answer, ControlPlaneError> {
        let cannot = || failed(format!("run {}", self.program.display()));
        let mut child = Command::new(&self.program)
            .args(arguments)
            .envs(self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot())?;
        let stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // One that does not read its input says on its own what is wrong.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
            child.wait_with_output()
        });
        let output = output.map_err(cannot())?;
        Ok(Answer {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and returns what it prints; an error with what it says where it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String, ControlPlaneError> {
        self.run_with_input(arguments, "")
    }

    /// The same, but tried again until it works: rights and kinds that were made are known to every part of the API server a moment later.
    pub fn run_patiently(&self, arguments: &[&str]) -> Result<String, ControlPlaneError> {
        let begun = Instant::now();
        loop {
            match self.run(arguments) {
                Err(_) if begun.elapsed() < stretched(PATIENCE) => {
                    std::thread::sleep(LOOKS_EVERY);
                }
                ended => return ended,
            }
        }
    }

    /// Runs it with `input` on its standard input, as `apply -f -` wants it.
    pub fn run_with_input(
        &self,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, ControlPlaneError> {
        let answer = self.answer(arguments, input)?;
        if answer.status.success() {
            Ok(answer.stdout)
        } else {
            Err(ControlPlaneError::Refused {
                arguments: arguments.join(" "),
                message: answer.stderr.trim().to_owned(),
            })
        }
    }
}
