//! What an agent can be asked: over HTTP, and by its other subcommands.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

use super::{AgentProcess, AgentProcessError};
use crate::lab::Namespace;

const HEALTHZ: u16 = 10256;
const METRICS: u16 = 10249;
/// How long one of its HTTP answers may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl AgentProcess {
    /// Waits until `/healthz` says 200.
    pub fn wait_until_healthy(
        &self,
        node: &Namespace,
        patience: Duration,
    ) -> Result<(), AgentProcessError> {
        let start = Instant::now();
        loop {
            let answer = self.health(node)?;
            if is_ok(&answer) {
                return Ok(());
            }
            if start.elapsed() > patience {
                return Err(AgentProcessError::NotHealthy {
                    patience,
                    answer,
                    log: self.log_end(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `/healthz` says 200.
    pub fn is_healthy(&self, node: &Namespace) -> Result<bool, AgentProcessError> {
        Ok(is_ok(&self.health(node)?))
    }

    /// The answer of `/healthz`, head and body; empty where nobody answers.
    pub fn health(&self, node: &Namespace) -> Result<String, AgentProcessError> {
        Ok(node.run(|| get(HEALTHZ, "/healthz").unwrap_or_default())?)
    }

    /// The text of its metrics; empty where nobody answers.
    pub fn metrics(&self, node: &Namespace) -> Result<String, AgentProcessError> {
        Ok(node.run(|| get(METRICS, "/metrics").unwrap_or_default())?)
    }

    /// The sum of a metric over all its labels; zero where it is not told.
    pub fn metric(&self, node: &Namespace, name: &str) -> Result<f64, AgentProcessError> {
        let text = self.metrics(node)?;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// Runs another subcommand of the agent with the same manifests, and returns what it prints.
    pub fn ask(
        &self,
        node: &Namespace,
        subcommand: &str,
        more: &[&str],
    ) -> Result<String, AgentProcessError> {
        let output = self.output(node, subcommand, more)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(AgentProcessError::Refused {
            command: subcommand.to_owned(),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// What `render --diff` prints: how the kernel differs from the manifests. Where it fails, why.
    pub fn difference(&self, node: &Namespace) -> Result<String, AgentProcessError> {
        let output = self.output(node, "render", &["--diff"])?;
        let says_so = matches!(output.status.code(), Some(0 | 1));
        let text = if says_so {
            output.stdout
        } else {
            output.stderr
        };
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn output(
        &self,
        node: &Namespace,
        subcommand: &str,
        more: &[&str],
    ) -> Result<Output, AgentProcessError> {
        let mut command = self.command(subcommand);
        command.args(more);
        node.run(move || command.output())?
            .map_err(self.cannot_run())
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

fn is_ok(answer: &str) -> bool {
    answer.split_whitespace().nth(1) == Some("200")
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
